#!/usr/bin/perl
# Perl's DBD::Pg: placeholders, server-side prepare, COPY, errors.
use strict;
use warnings;
use DBI;

my $db = DBI->connect("dbi:Pg:", "", "", { RaiseError => 1, PrintError => 0, AutoCommit => 1 });
my ($n) = $db->selectrow_array("select count(*) from orders where customer = ?", undef, 3);
die "placeholder: $n" unless $n == 2;
my $s = $db->prepare("select ?::int + ?::int");
for my $i (1 .. 10) {
    $s->execute($i, 1);
    die "prepared" unless $s->fetchrow_array == $i + 1;
}
print "ok: placeholders\n";
$db->do("create temp table t (a int, b text)");
$db->do("copy t from stdin");
$db->pg_putcopydata("$_\tx\n") for 1 .. 5000;
$db->pg_putcopyend;
die "copy" unless ($db->selectrow_array("select count(*) from t"))[0] == 5000;
print "ok: COPY\n";
eval { $db->do("select 1/0") };
die "error: " . ($db->state // "") unless $db->state eq "22012";
print "ok: error\n";
