// Package approval says who may use what until when.
//
// A Request is one user's wish, frozen and hashed when it is filed. Others
// vote on it; the deciding vote makes a Grant, which is bound by SHA-256 to the
// request, to the definitions of its targets and to the rule. A fresh second factor
// opens the grant's window, which has an exact end. An Admission is the proof
// that a session may start now; only Service.Admit makes one, and ca and session
// take nothing less (guarantee G1).
//
// Every change is one conditional update of one row with its audit event, so
// two gateways may run over one store, and of two who act at once one finds
// the row changed and looks again. Nothing here trusts what it read earlier: user, owner,
// key, target, rules and clock are read anew at each step, and whatever cannot be
// read refuses (G5). Nobody, under any account, decides on their own request (G6).
//
// The package calls no session and sends no message: what follows from an end
// or an approval is for those who follow the audit log. Time itself is written
// down by Run.
//
// Start reading at Service; then File, Approve, Activate and Admit, in the
// order of a request's life. The steps of docs/session-flow.md that lie here
// are 4 and 5.
package approval
