package pgproxy

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// OIDs of the types whose binary format is shown as text (pg_type.dat).
const (
	oidBool, oidBytea, oidChar, oidName                = 16, 17, 18, 19
	oidInt8, oidInt2, oidInt4, oidText, oidOID         = 20, 21, 23, 25, 26
	oidJSON, oidXML, oidFloat4, oidFloat8              = 114, 142, 700, 701
	oidInet, oidCIDR, oidBPChar, oidVarchar            = 869, 650, 1042, 1043
	oidDate, oidTime, oidTimestamp, oidTimestamptz     = 1082, 1083, 1114, 1184
	oidInterval, oidNumeric, oidUUID, oidJSONB, oidUnk = 1186, 1700, 2950, 3802, 705
)

// arrayOf maps the OID of an array type to that of its elements.
var arrayOf = map[uint32]uint32{
	1000: oidBool, 1001: oidBytea, 1003: oidName, 1005: oidInt2, 1007: oidInt4, 1009: oidText, 1014: oidBPChar,
	1015: oidVarchar, 1016: oidInt8, 1021: oidFloat4, 1022: oidFloat8, 1028: oidOID, 1041: oidInet, 651: oidCIDR,
	1115: oidTimestamp, 1182: oidDate, 1183: oidTime, 1185: oidTimestamptz, 1187: oidInterval, 1231: oidNumeric,
	2951: oidUUID, 199: oidJSON, 3807: oidJSONB,
}

// postgresEpoch is the zero of dates and timestamps.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// decodeBinary shows a value in the binary format as the server would print
// it; ok is false where the type is not known or the bytes do not fit it.
func decodeBinary(oid uint32, b []byte) (text string, ok bool) {
	be := binary.BigEndian
	switch oid {
	case oidText, oidVarchar, oidBPChar, oidName, oidJSON, oidXML, oidUnk, oidChar:
		return string(b), utf8.Valid(b)
	case oidJSONB:
		if len(b) > 0 && b[0] == 1 {
			return string(b[1:]), utf8.Valid(b)
		}
	case oidBytea:
		return `\x` + hex.EncodeToString(b), true
	case oidBool:
		if len(b) == 1 {
			return map[bool]string{true: "t", false: "f"}[b[0] != 0], true
		}
	case oidInt2:
		if len(b) == 2 {
			return strconv.Itoa(int(int16(be.Uint16(b)))), true
		}
	case oidInt4:
		if len(b) == 4 {
			return strconv.Itoa(int(int32(be.Uint32(b)))), true
		}
	case oidOID:
		if len(b) == 4 {
			return strconv.FormatUint(uint64(be.Uint32(b)), 10), true
		}
	case oidInt8:
		if len(b) == 8 {
			return strconv.FormatInt(int64(be.Uint64(b)), 10), true
		}
	case oidFloat4:
		if len(b) == 4 {
			return strconv.FormatFloat(float64(math.Float32frombits(be.Uint32(b))), 'g', -1, 32), true
		}
	case oidFloat8:
		if len(b) == 8 {
			return strconv.FormatFloat(math.Float64frombits(be.Uint64(b)), 'g', -1, 64), true
		}
	case oidUUID:
		if len(b) == 16 {
			return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), true
		}
	case oidDate:
		if len(b) == 4 {
			return decodeDate(int32(be.Uint32(b)))
		}
	case oidTime:
		if len(b) == 8 {
			us := int64(be.Uint64(b))
			return postgresEpoch.Add(time.Duration(us) * time.Microsecond).Format("15:04:05.999999"), us >= 0 && us <= 86400e6
		}
	case oidTimestamp, oidTimestamptz:
		if len(b) == 8 {
			return decodeTimestamp(int64(be.Uint64(b)), oid == oidTimestamptz)
		}
	case oidInterval:
		if len(b) == 16 {
			us, days, months := int64(be.Uint64(b)), int32(be.Uint32(b[8:])), int32(be.Uint32(b[12:]))
			return fmt.Sprintf("%d mons %d days %s", months, days, strconv.FormatFloat(float64(us)/1e6, 'f', -1, 64)+"s"), true
		}
	case oidNumeric:
		return decodeNumeric(b)
	case oidInet, oidCIDR:
		return decodeInet(b)
	default:
		if elem, is := arrayOf[oid]; is {
			return decodeArray(elem, b)
		}
	}
	return "", false
}

func decodeDate(days int32) (string, bool) {
	switch days {
	case math.MaxInt32:
		return "infinity", true
	case math.MinInt32:
		return "-infinity", true
	}
	t := postgresEpoch.AddDate(0, 0, int(days))
	return t.Format("2006-01-02"), t.Year() >= 0 && t.Year() <= 9999
}

func decodeTimestamp(us int64, zone bool) (string, bool) {
	switch us {
	case math.MaxInt64:
		return "infinity", true
	case math.MinInt64:
		return "-infinity", true
	}
	t := time.Unix(postgresEpoch.Unix()+us/1e6, us%1e6*1e3).UTC()
	layout := "2006-01-02 15:04:05.999999"
	if zone {
		layout += "+00"
	}
	return t.Format(layout), t.Year() >= 0 && t.Year() <= 9999
}

// decodeNumeric reads base-10000 digits: count, weight, sign, display scale.
func decodeNumeric(b []byte) (string, bool) {
	if len(b) < 8 {
		return "", false
	}
	be := binary.BigEndian
	n, weight, sign, scale := int(be.Uint16(b)), int(int16(be.Uint16(b[2:]))), be.Uint16(b[4:]), int(be.Uint16(b[6:]))
	if len(b) != 8+2*n || n > 1000 || weight > 1000 || weight < -1000 || scale > 2000 {
		return "", false
	}
	switch sign {
	case 0xC000:
		return "NaN", true
	case 0xD000:
		return "Infinity", true
	case 0xF000:
		return "-Infinity", true
	case 0, 0x4000:
	default:
		return "", false
	}
	digit := func(i int) int { // of weight w = weight - i
		if i < 0 || i >= n {
			return 0
		}
		return int(be.Uint16(b[8+2*i:]))
	}
	var out strings.Builder
	if sign == 0x4000 {
		out.WriteByte('-')
	}
	if weight < 0 {
		out.WriteByte('0')
	}
	for i := 0; i <= weight; i++ {
		if i == 0 {
			fmt.Fprintf(&out, "%d", digit(i))
		} else {
			fmt.Fprintf(&out, "%04d", digit(i))
		}
	}
	if scale > 0 {
		out.WriteByte('.')
		var frac strings.Builder
		for i := weight + 1; frac.Len() < scale; i++ {
			fmt.Fprintf(&frac, "%04d", digit(i))
		}
		out.WriteString(frac.String()[:scale])
	}
	return out.String(), true
}

// decodeInet reads family, prefix length, is_cidr, length, address.
func decodeInet(b []byte) (string, bool) {
	if len(b) < 4 || int(b[3]) != len(b)-4 {
		return "", false
	}
	a, ok := netip.AddrFromSlice(b[4:])
	if !ok || int(b[1]) > a.BitLen() {
		return "", false
	}
	if int(b[1]) == a.BitLen() && b[2] == 0 {
		return a.String(), true
	}
	return fmt.Sprintf("%s/%d", a, b[1]), true
}

// decodeArray shows a one-dimensional array as an array literal.
func decodeArray(elem uint32, b []byte) (string, bool) {
	be := binary.BigEndian
	if len(b) < 12 {
		return "", false
	}
	dims := be.Uint32(b)
	if dims == 0 {
		return "{}", true
	}
	if dims != 1 || len(b) < 20 || be.Uint32(b[8:]) != elem {
		return "", false
	}
	n := int(int32(be.Uint32(b[12:])))
	b = b[20:]
	if n < 0 || n > len(b)/4 {
		return "", false
	}
	var out strings.Builder
	out.WriteByte('{')
	for i := range n {
		if i > 0 {
			out.WriteByte(',')
		}
		if len(b) < 4 {
			return "", false
		}
		size := int(int32(be.Uint32(b)))
		b = b[4:]
		if size == -1 {
			out.WriteString("NULL")
			continue
		}
		if size < 0 || size > len(b) {
			return "", false
		}
		text, ok := decodeBinary(elem, b[:size])
		if !ok {
			return "", false
		}
		b = b[size:]
		if text == "" || strings.EqualFold(text, "null") || strings.ContainsAny(text, `{}," \`+"\t\n") {
			text = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
		}
		out.WriteString(text)
	}
	out.WriteByte('}')
	return out.String(), len(b) == 0
}
