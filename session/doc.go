// Package session is a grant in use and its exact end: begin, deadline,
// terminate, end, recover.
package session
