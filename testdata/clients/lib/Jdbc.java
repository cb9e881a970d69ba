import java.io.StringReader;
import java.sql.*;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** What applications and database GUIs do through JDBC. */
public class Jdbc {
	static String env(String name) { return System.getenv(name); }

	static void check(boolean ok, String what) {
		if (!ok) throw new AssertionError(what);
		System.out.println("ok: " + what);
	}

	public static void main(String[] args) throws Exception {
		String url = "jdbc:postgresql://" + env("PGHOST") + ":" + env("PGPORT") + "/" + env("PGDATABASE");
		Properties p = new Properties();
		p.put("user", env("PGUSER"));
		p.put("password", env("PGPASSWORD"));
		p.put("sslmode", "verify-full");
		p.put("sslrootcert", env("PGSSLROOTCERT"));
		try (Connection c = DriverManager.getConnection(url, p)) {
			try (PreparedStatement s = c.prepareStatement("select item, price from orders where customer = ? and quantity >= ? order by id")) {
				for (int i = 0; i < 8; i++) { // from the fifth on the driver prepares on the server
					s.setInt(1, 1);
					s.setInt(2, 10);
					try (ResultSet r = s.executeQuery()) {
						if (!r.next() || !r.getString(1).equals("paper, 500 sheets")) throw new AssertionError("row");
					}
				}
			}
			check(true, "prepared statement");
			try (Statement s = c.createStatement()) {
				s.execute("create temp table t (a int, b text)");
			}
			try (PreparedStatement s = c.prepareStatement("insert into t values (?, ?)")) {
				for (int i = 0; i < 3000; i++) {
					s.setInt(1, i);
					s.setString(2, "x");
					s.addBatch();
				}
				check(s.executeBatch().length == 3000, "batch of 3000");
			}
			CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
			check(copy.copyIn("copy t from stdin", new StringReader("1\ty\n2\tz\n")) == 2, "COPY");
			c.setAutoCommit(false);
			try (Statement s = c.createStatement()) {
				s.setFetchSize(100); // a portal that is read in parts
				int n = 0;
				try (ResultSet r = s.executeQuery("select * from t")) {
					while (r.next()) n++;
				}
				check(n == 3002, "fetch size");
			}
			c.rollback();
			c.setAutoCommit(true);
			try (ResultSet r = c.getMetaData().getTables(null, "public", "orders", null)) {
				check(r.next(), "metadata");
			}
			try (Statement s = c.createStatement()) {
				s.setQueryTimeout(1); // a CancelRequest
				s.execute("select pg_sleep(20)");
				throw new AssertionError("no timeout");
			} catch (SQLException e) {
				check("57014".equals(e.getSQLState()), "query timeout");
			}
		}
		p.put("password", "jit_pg_wrong");
		try (Connection c = DriverManager.getConnection(url, p)) {
			throw new AssertionError("a wrong token was taken");
		} catch (SQLException e) {
			check("28P01".equals(e.getSQLState()), "wrong token: " + e.getSQLState());
		}
	}
}
