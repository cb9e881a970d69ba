package ca

var (
	OnCurve    = onCurve
	NobodysKey = nobodysKey
)
