#!/bin/bash
# The PostgreSQL JDBC driver of Debian.
. "$LIB/lib.sh"
cp "$LIB/Jdbc.java" .
javac -nowarn -cp /usr/share/java/postgresql.jar Jdbc.java
java -cp .:/usr/share/java/postgresql.jar Jdbc
