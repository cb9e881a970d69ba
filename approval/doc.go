// Package approval says who may use what until when. A Request is a wish, a
// Grant is an approved request with an exact end, an Admission is the proof
// that a session may start now; only Service.Admit makes one.
package approval
