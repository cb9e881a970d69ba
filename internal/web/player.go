package web

// PlayerFiles are the player's script and style, for documents that bring it
// along, such as the summary of an evidence pack.
func PlayerFiles() (script, style []byte, err error) {
	if script, err = files.ReadFile("static/vendor/asciinema-player.min.js"); err != nil {
		return nil, nil, err
	}
	style, err = files.ReadFile("static/vendor/asciinema-player.css")
	return script, style, err
}
