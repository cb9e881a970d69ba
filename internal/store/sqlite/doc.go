// Package sqlite is the default store: one SQLite file that needs nothing
// else, and one gateway that has it open.
//
// What the store does is in package sqlstore, which speaks SQLite's and
// PostgreSQL's SQL; here is how the file is opened, locked and brought up to
// date, and what is SQLite's alone: the search index, in a second file.
//
// Start reading at Open.
package sqlite
