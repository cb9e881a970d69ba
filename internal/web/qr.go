package web

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/png"

	"github.com/boombuler/barcode/qr"
)

// qrImage draws a QR code as an image inside the page: dark on light whatever
// the page's scheme, with the quiet zone that readers need.
func qrImage(content string) (template.URL, error) {
	code, err := qr.Encode(content, qr.M, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("draw a QR code of %d bytes: %w", len(content), err)
	}
	const quiet, scale = 4, 4
	b := code.Bounds()
	side := (b.Dx() + 2*quiet) * scale
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			mx, my := x/scale-quiet, y/scale-quiet
			if mx < 0 || my < 0 || mx >= b.Dx() || my >= b.Dy() {
				continue
			}
			if r, _, _, _ := code.At(b.Min.X+mx, b.Min.Y+my).RGBA(); r < 0x7fff {
				img.SetColorIndex(x, y, 1)
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return "", fmt.Errorf("draw a QR code: %w", err)
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(out.Bytes())), nil
}
