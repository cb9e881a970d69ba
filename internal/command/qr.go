package command

import (
	"fmt"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// qrText draws a QR code with half blocks, two modules to a character, light
// on dark as terminals are: the quiet zone is drawn too, since a phone needs
// it. It contains nothing but block characters and line breaks.
func qrText(content string) (string, error) {
	code, err := qr.Encode(content, qr.L, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("draw a QR code of %d bytes: %w", len(content), err)
	}
	const quiet = 2
	b := code.Bounds()
	light := func(x, y int) bool {
		x, y = x-quiet, y-quiet
		if x < 0 || y < 0 || x >= b.Dx() || y >= b.Dy() {
			return true
		}
		r, _, _, _ := code.At(b.Min.X+x, b.Min.Y+y).RGBA()
		return r > 0x7fff
	}
	var out strings.Builder
	for y := 0; y < b.Dy()+2*quiet; y += 2 {
		for x := range b.Dx() + 2*quiet {
			top, bottom := light(x, y), y+1 < b.Dy()+2*quiet && light(x, y+1)
			switch {
			case top && bottom:
				out.WriteRune('█')
			case top:
				out.WriteRune('▀')
			case bottom:
				out.WriteRune('▄')
			default:
				out.WriteByte(' ')
			}
		}
		out.WriteByte('\n')
	}
	return out.String(), nil
}
