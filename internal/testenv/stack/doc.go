// Package stack sets up a whole gateway with what it stands before: hosts
// web01 and web02, the database orders, and the users alice (engineer), bob
// (approver) and carol (auditor), all of them enrolled over ssh as people are.
// The demo leaves one running, the end-to-end stories make one each.
//
// It uses the gateway as an outsider does: the binary's command line, its one
// configuration file, stock ssh, and TOTP codes that it computes from the
// secrets it was shown. Each code of a user is good once and a step lasts
// 30 s, so Codes hands out the previous step, the present and the next one
// (all within the gateway's tolerance), and waits only for a fourth: clocks
// are never bent.
//
// Start reading at Up.
package stack
