// Package dialogue is the conversation of an in-band request: the connection
// is the request. With a live grant it says nothing. Without one it asks for
// the reason and the time, files the request, waits for the answer while it
// shows that it is alive, tells what was decided, and takes the second factor
// after that, so that the code is fresh.
//
// It decides nothing: package approval does, and only approval makes the
// Admission that comes out. It holds no state either: a request that is
// pending, approved or waiting for its start is found again by the same
// command, on this gateway or another, after a dropped line or a restart.
//
// Protocol handlers bring a Terminal; without one (nobody to ask) every
// refusal is a sentence that names the command to run instead. An Invocation
// is one use of the command interface, which shares the questions.
//
// Start reading at Dialogue.Admit.
package dialogue
