using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>Logical dumps of a PostgreSQL server, and databases loaded from them. The oracle is pg_dump itself, on both sides.</summary>
public sealed partial class PostgresDumpTests(SharedPostgres shared) : IClassFixture<SharedPostgres>
{
    // Quotes, a slash, a backslash, other letters, spaces, and dashes where flags begin.
    private const string Odd = "--db=o'd\"d/\\ é x";
    private const string Rich = "-rich";

    private const string RichSchema = """
        CREATE SCHEMA "Odd Schema";
        CREATE TYPE "Odd Schema".mood AS ENUM ('sad', 'ha''ppy');
        CREATE DOMAIN short AS text CHECK (length(VALUE) < 100);
        CREATE TABLE parent (id serial PRIMARY KEY, name short NOT NULL, m "Odd Schema".mood DEFAULT 'sad');
        CREATE TABLE "Odd Schema"."-ch""ild 'é" (id bigint GENERATED ALWAYS AS IDENTITY, parent int REFERENCES parent, "data;" bytea, UNIQUE (id, parent));
        CREATE TABLE parts (k int, t text) PARTITION BY RANGE (k);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (500);
        CREATE TABLE "Odd Schema".parts_2 PARTITION OF parts FOR VALUES FROM (500) TO (1000);
        CREATE INDEX ON parts (k);
        CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';
        CREATE INDEX by_twice ON parent (twice(id));
        CREATE VIEW names AS SELECT p.name, c.id FROM parent p JOIN "Odd Schema"."-ch""ild 'é" c ON c.parent = p.id;
        CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM parent;
        CREATE SEQUENCE alone START 77;
        CREATE FUNCTION noticed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER t BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION noticed();
        COMMENT ON TABLE parent IS 'it''s the parent';
        INSERT INTO parent (name, m) SELECT E'line\nend \\. and \t tab ' || g, CASE WHEN g % 2 = 0 THEN 'ha''ppy'::"Odd Schema".mood END FROM generate_series(1, 3000) g;
        INSERT INTO "Odd Schema"."-ch""ild 'é" (parent, "data;") SELECT g, decode(md5(g::text), 'hex') FROM generate_series(1, 2000) g;
        INSERT INTO parts SELECT g, repeat(md5(g::text), 3) FROM generate_series(0, 999) g;
        CREATE TABLE nothing ();
        INSERT INTO nothing SELECT FROM generate_series(1, 5);
        CREATE TABLE big AS SELECT g, md5(g::text) m FROM generate_series(1, 60000) g;
        REFRESH MATERIALIZED VIEW counted;
        SELECT lo_from_bytea(4711, decode(repeat('ab', 3000000), 'hex')), lo_from_bytea(4712, ''), nextval('alone');
        """;

    [Fact]
    public void DatabasesWithEverythingInThemComeBackEqualAndASecondDumpStoresNearlyNothing()
    {
        using PostgresScene scene = new(shared);
        Remake(scene, Rich, RichSchema);
        Remake(scene, Odd, "CREATE TABLE t AS SELECT generate_series(1, 10) a");
        JsonElement first = Dump(scene, Rich, Odd);
        JsonElement second = Dump(scene, Rich, Odd);
        PostgresScene.Number(first, "total_bytes_processed").ShouldBeGreaterThan(5_000_000);
        PostgresScene.Number(second, "data_added").ShouldBeLessThan(PostgresScene.Number(first, "data_added") / 20);

        // Rows are counted as they pass: tables, partitions, one without columns.
        JsonElement[] databases = [.. second.GetProperty("db").GetProperty("databases").EnumerateArray()];
        databases.Select(static one => one.GetProperty("name").GetString()).ShouldBe([Rich, Odd], ignoreOrder: true);
        JsonElement rich = databases.Single(static one => one.GetProperty("name").GetString() == Rich);
        PostgresScene.Number(rich, "rows").ShouldBe(3000 + 2000 + 1000 + 5 + 60000);
        PostgresScene.Number(rich, "tables").ShouldBe(6);
        PostgresScene.Number(rich, "large_objects").ShouldBe(2);

        foreach ((string database, string target) in ((string, string)[])[(Rich, "rich copy"), (Odd, Odd + "'\"copy")])
        {
            Drop(scene, target);
            JsonElement loaded = scene.User.Run("pg", "load", "main", $"--db={database}", $"--target-db={target}", "--json", "--quiet").ShouldEndWith(0).Summary();
            loaded.GetProperty("missing_roles").GetArrayLength().ShouldBe(0);
            Plain(scene, target).ShouldBe(Plain(scene, database));
            Drop(scene, target);
        }

        // It is pg_dump's own format: without us, with pg_restore.
        string folder = scene.At("raw");
        scene.User.Run("restore", $"{second.GetProperty("snapshot_id").GetString()}:/main/dump/{Rich}", "--target", folder).ShouldEndWith(0);
        ScratchFolder.Run(PostgresCluster.Program("pg_restore"), "--list", folder).ShouldContain("by_twice");
        scene.User.Run("ls", "latest").ShouldEndWith(0).Text.ShouldContain("/main/globals.sql");
        scene.User.Run("dump", "latest:/main/globals.sql").ShouldEndWith(0).Text.ShouldContain("CREATE ROLE ci;");
        JsonElement[] snapshots = [.. scene.User.Run("snapshots", "--json").Json().EnumerateArray()];
        snapshots.Select(static one => one.GetProperty("kind").GetString()).ShouldBe(["postgres-dump", "postgres-dump"]);
        scene.User.Run("check", "--read-data").ShouldEndWith(0);
        Leftovers(scene).ShouldBeEmpty();
    }

    [Fact]
    public void ADumpUnderLoadIsOfOneMoment()
    {
        using PostgresScene scene = new(shared);
        scene.Server.FillPgbench(scale: 3);
        using (Process load = scene.Server.StartLoad(seconds: 60))
        {
            Wait(() => scene.Server.Query("SELECT count(*) > 50 FROM pgbench_history") == "t");
            Dump(scene, "postgres");
            load.HasExited.ShouldBeFalse("the load ended before the dump did");
            load.Kill();
            load.WaitForExit();
        }

        scene.User.Run("pg", "load", "main", "--target-db", "moment").ShouldEndWith(0);
        string[] sums = scene.Server.Query(
            "SELECT sum(abalance) FROM pgbench_accounts UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT sum(delta) FROM pgbench_history", "moment").Split('\n');
        sums.Length.ShouldBe(4);
        sums.Distinct().Count().ShouldBe(1, string.Join(", ", sums));

        // And that what was recorded is what is there.
        string rows = scene.User.Run("pg", "dump", "main", "moment", "--json", "--quiet").ShouldEndWith(0).Summary().GetProperty("db").GetProperty("databases")[0].GetProperty("rows").ToString();
        scene.Server.Query("SELECT (SELECT count(*) FROM pgbench_accounts) + (SELECT count(*) FROM pgbench_branches) + (SELECT count(*) FROM pgbench_tellers) + (SELECT count(*) FROM pgbench_history)", "moment").ShouldBe(rows);
        Drop(scene, "moment");
    }

    [Fact]
    public void SingleTablesComeBackWithWhatIsTheirsAndWhatTheyNeed()
    {
        using PostgresScene scene = new(shared);
        Remake(scene, Rich, RichSchema);
        Dump(scene, Rich);

        // A table that others point to, with its sequence, type, domain, expression index and the function of that; and the view that reads it stays away.
        JsonElement parent = Load(scene, "part", "--table", "parent");
        scene.Server.Query("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace", "part").ShouldBe("by_twice parent parent_id_seq parent_pkey");
        scene.Server.Query("SELECT count(*), count(m), max(id) FROM parent", "part").ShouldBe("3000|1500|3000");
        scene.Server.Query("INSERT INTO parent (name) VALUES ('new') RETURNING id, m", "part").ShouldBe("3001|sad");
        PostgresScene.Number(parent, "tables").ShouldBe(1);

        // The bytes of the table alone were brought.
        PostgresScene.Number(parent, "bytes").ShouldBeLessThan(300_000);

        // One that points to another: its foreign key is told to be left out.
        JsonElement child = Load(scene, "part", "--table", "Odd Schema.-ch\"ild 'é");
        child.GetProperty("left_out").EnumerateArray().Single().GetString()!.ShouldContain("fk constraint");
        scene.Server.Query("SELECT count(*), sum(length(\"data;\")), max(id) FROM \"Odd Schema\".\"-ch\"\"ild 'é\"", "part").ShouldBe("2000|32000|2000");
        scene.Server.Query("INSERT INTO \"Odd Schema\".\"-ch\"\"ild 'é\" (parent) VALUES (1) RETURNING id", "part").ShouldBe("2001");

        // Both: then it is there; a view that reads them; a partitioned one with its partitions, of whatever schema; a sequence.
        Load(scene, "part", "--table", "Odd Schema.-ch\"ild 'é", "--table", "public.parent", "--table", "names", "--table", "parts", "--table", "alone").GetProperty("left_out").GetArrayLength().ShouldBe(0);
        scene.Server.Query("SELECT count(*) FROM pg_constraint WHERE contype = 'f'", "part").ShouldBe("1");
        scene.Server.Query("SELECT (SELECT count(*) FROM names), (SELECT count(*) FROM parts), (SELECT count(DISTINCT tableoid) FROM parts), nextval('alone')", "part").ShouldBe("2000|1000|2|78");

        // A schema, and a partition alone.
        Load(scene, "part", "--schema", "Odd Schema", "--table", "parts_1");
        scene.Server.Query("SELECT (SELECT count(*) FROM \"Odd Schema\".parts_2), (SELECT count(*) FROM parts_1)", "part").ShouldBe("500|500");
        Drop(scene, "part");

        scene.User.Run("pg", "load", "main", "--target-db", "part", "--table", "parent", "--table", "missing").ShouldEndWith(1).Error.ShouldContain("'missing'");
        scene.Server.Query("SELECT count(*) FROM pg_database WHERE datname IN ('part') OR datname LIKE 'backupiq%'").ShouldBe("0");
    }

    [Fact]
    public void ADatabaseThatIsThereStaysAsItIsAndOneThatCannotBeLoadedIsNotThere()
    {
        using PostgresScene scene = new(shared);
        Remake(scene, Rich, """
            CREATE TABLE other AS SELECT 1 a;
            CREATE FUNCTION has_other() RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) > 0 FROM public.other); END';
            CREATE TABLE checked (a int, CHECK (has_other()));
            INSERT INTO checked VALUES (1);
            """);
        Remake(scene, "taken", "CREATE TABLE precious AS SELECT 1 a");
        Dump(scene, Rich);
        ProgramRun refused = scene.User.Run("pg", "load", "main", "--target-db", "taken").ShouldEndWith(7);
        refused.Error.ShouldContain("'taken'");
        scene.Server.Query("SELECT * FROM precious", "taken").ShouldBe("1");
        scene.Server.Query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", "taken").ShouldBe("1");

        // Its check wants rows that were not loaded: which object failed, and nothing is left.
        Drop(scene, "part");
        ProgramRun failed = scene.User.Run("pg", "load", "main", "--target-db", "part", "--table", "checked").ShouldEndWith(1);
        failed.Error.ShouldContain("\"public.other\" does not exist");
        failed.Error.ShouldContain("table \"checked\"");
        scene.Server.Query("SELECT count(*) FROM pg_database WHERE datname = 'part' OR datname LIKE 'backupiq%'").ShouldBe("0");
        ProgramRun kept = scene.User.Run("pg", "load", "main", "--target-db", "part", "--table", "checked", "--keep-failed").ShouldEndWith(1);
        string provisional = scene.Server.Query("SELECT datname FROM pg_database WHERE datname LIKE 'backupiq%'");
        provisional.ShouldStartWith("backupiq_load_");
        kept.Error.ShouldContain(provisional);
        Drop(scene, provisional);
        Drop(scene, "taken");
        Leftovers(scene).ShouldBeEmpty();
        scene.User.Run("pg", "load", "main").ShouldEndWith(2).Error.ShouldContain("--target-db");
        scene.User.Run("pg", "dump", "main", "rch").ShouldEndWith(15).Error.ShouldContain("no database 'rch'");
    }

    [Fact]
    public void RolesThatAreMissingAreToldOrMade()
    {
        using PostgresScene scene = new(shared);
        scene.Server.Query("DROP ROLE IF EXISTS \"Own er\"");
        scene.Server.Query("DROP ROLE IF EXISTS reader");
        scene.Server.Query("CREATE ROLE \"Own er\"");
        scene.Server.Query("CREATE ROLE reader");
        Remake(scene, Rich, "CREATE TABLE t AS SELECT 1 a; ALTER TABLE t OWNER TO \"Own er\"; GRANT SELECT ON t TO reader");
        Dump(scene, Rich);
        Drop(scene, Rich);
        scene.Server.Query("DROP ROLE \"Own er\"");
        scene.Server.Query("DROP ROLE reader");

        Drop(scene, "part");
        scene.User.Run("pg", "load", "main", "--target-db", "part").ShouldEndWith(0).Error.ShouldContain("Own er, reader");
        scene.Server.Query("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 't'", "part").ShouldBe("ci");
        Load(scene, "part", "--create-roles").GetProperty("created_roles").EnumerateArray().Select(static one => one.GetString()).ShouldBe(["Own er", "reader"]);
        scene.Server.Query("SELECT pg_get_userbyid(relowner), has_table_privilege('reader', 't', 'SELECT') FROM pg_class WHERE relname = 't'", "part").ShouldBe("Own er|t");
        scene.Server.Query("SELECT bool_or(rolcanlogin OR rolsuper) FROM pg_roles WHERE rolname IN ('Own er', 'reader')").ShouldBe("f");
        Drop(scene, "part");
        scene.Server.Query("DROP ROLE \"Own er\"");
        scene.Server.Query("DROP ROLE reader");
    }

    [Fact]
    public void ADumpThatIsKilledLeavesNoSnapshotNothingOnTheServerAndNothingOnTheDiskAfterTheNext()
    {
        using PostgresScene scene = new(shared);
        Remake(scene, Rich, "CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g");
        using (ScratchLock held = new(scene, Rich, "t"))
        {
            // It waits for the table.
            ProgramUser.RunningProgram dump = scene.User.Start(WithWork(scene, "pg", "dump", "main", "--quiet", "--", Rich));
            Wait(() => Waiting(scene) > 0);
            Leftovers(scene).ShouldHaveSingleItem();
            File.GetUnixFileMode(Leftovers(scene)[0]).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            dump.Interrupt(9);
            dump.Wait();
            Wait(() => Waiting(scene) == 0);

            // Ctrl-C takes all away at once.
            dump = scene.User.Start(WithWork(scene, "pg", "dump", "main", "--quiet", "--", Rich));
            Wait(() => Waiting(scene) > 0);
            dump.Interrupt();
            dump.Wait().ShouldEndWith(130);
            Waiting(scene).ShouldBe(0);
            Leftovers(scene).ShouldBeEmpty();
        }

        scene.User.Run("snapshots", "--json").Json().GetArrayLength().ShouldBe(0);
        Dump(scene, Rich);
        Leftovers(scene).ShouldBeEmpty();
        scene.User.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Fact]
    public void ALoadThatIsInterruptedLeavesNoDatabaseOfTheNameThatWasAskedFor()
    {
        using PostgresScene scene = new(shared);
        Remake(scene, Rich, """
            CREATE FUNCTION slow() RETURNS bool LANGUAGE sql AS 'SELECT current_setting(''application_name'') <> ''backupiq'' OR pg_sleep(60) IS NULL';
            CREATE TABLE t (a int CHECK (slow()));
            INSERT INTO t VALUES (1);
            """);
        Dump(scene, Rich);
        Drop(scene, "part");
        foreach ((int signal, string left) in ((int, string)[])[(2, "0"), (9, "1")])
        {
            ProgramUser.RunningProgram load = scene.User.Start(WithWork(scene, "pg", "load", "main", "--target-db", "part", "--quiet"));
            Wait(() => Sleeping(scene) != "0");
            load.Interrupt(signal);
            ProgramRun run = load.Wait();
            if (signal == 2)
            {
                run.ShouldEndWith(130);
                Leftovers(scene).ShouldBeEmpty();
            }

            Wait(() => Sleeping(scene) == "0");
            scene.Server.Query("SELECT count(*) FROM pg_database WHERE datname = 'part'").ShouldBe("0");
            scene.Server.Query("SELECT count(*) FROM pg_database WHERE datname LIKE 'backupiq\\_load\\_%'").ShouldBe(left);
        }

        Drop(scene, scene.Server.Query("SELECT datname FROM pg_database WHERE datname LIKE 'backupiq\\_load\\_%'"));
        static string Sleeping(PostgresScene scene) => scene.Server.Query("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    }

    [Fact]
    public void AServerThatDiesInTheMiddleEndsTheDumpWithoutASnapshot()
    {
        using PostgresScene scene = new();
        Remake(scene, Rich, "CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g");
        using (ScratchLock held = new(scene, Rich, "t"))
        {
            ProgramUser.RunningProgram dump = scene.User.Start(WithWork(scene, "pg", "dump", "main", "--", Rich));
            Wait(() => Waiting(scene) > 0);
            scene.Server.Stop("immediate");
            dump.Wait().ShouldEndWith(15).Error.ShouldContain("pg_dump failed");
        }

        scene.User.Run("snapshots", "--json").Json().GetArrayLength().ShouldBe(0);
        Leftovers(scene).ShouldBeEmpty();
        scene.Server.Start();
        Dump(scene, Rich);
    }

    [Fact]
    public void APasswordIsShownNowhereAndAWrongOneIsTold()
    {
        const string Password = "geheim-7261'\"$ x";
        using PostgresScene scene = new();
        string hba = Path.Combine(scene.Server.Data, "pg_hba.conf");
        File.WriteAllText(hba, "local all secretive scram-sha-256\n" + File.ReadAllText(hba));
        scene.Server.Query("SELECT pg_reload_conf()");
        scene.Server.Query($"CREATE ROLE secretive LOGIN SUPERUSER PASSWORD '{Password.Replace("'", "''", StringComparison.Ordinal)}'");
        Remake(scene, Rich, "CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g");
        string dsn = $"host={scene.Server.Folder} user=secretive dbname=postgres";
        foreach ((string name, string password) in ((string, string)[])[("right", Password), ("wrong", "not-" + Password)])
        {
            string file = scene.User.Write(name, password);
            File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            scene.User.RunPlain("pg", "init-server", name, "--dsn", dsn, "--server-password-from", $"file:{file}").ShouldEndWith(0);
        }


        List<string> seen = [];
        using (ScratchLock held = new(scene, Rich, "t"))
        {
            ProgramUser.RunningProgram dump = scene.User.Start("pg", "dump", "right", "-vv", "--json", "--", Rich);
            Wait(() => Waiting(scene) > 0);
            seen.AddRange(Directory.GetDirectories("/proc").Select(static process => Path.Combine(process, "cmdline")).Where(File.Exists).Select(static path => Text(path)));
            held.Dispose();
            ProgramRun run = dump.Wait().ShouldEndWith(0);
            seen.AddRange([run.Text, run.Error]);
        }

        seen.ShouldContain(static line => line.Contains("pg_dump", StringComparison.Ordinal));
        ProgramRun loaded = scene.User.Run("pg", "load", "right", "--target-db", "copy", "-vv", "--json").ShouldEndWith(0);
        ProgramRun wrong = scene.User.Run("pg", "dump", "wrong", "-v", "--", Rich).ShouldEndWith(13);
        seen.AddRange([loaded.Text, loaded.Error, wrong.Text, wrong.Error]);
        seen.ShouldAllBe(static text => !text.Contains("geheim", StringComparison.Ordinal));
        scene.User.Run("snapshots", "--json").Json().GetArrayLength().ShouldBe(1);

        // Hashes of roles are there only where they were asked for.
        scene.User.Run("dump", "latest:/right/globals.sql").ShouldEndWith(0).Text.ShouldNotContain("SCRAM-SHA-256");
        scene.User.Run("pg", "dump", "right", "--role-passwords", "--quiet", "--", Rich).ShouldEndWith(0);
        scene.User.Run("dump", "latest:/right/globals.sql").ShouldEndWith(0).Text.ShouldContain("SCRAM-SHA-256");
        string nobody = $"host={scene.Server.Folder} user=nobody dbname=postgres";
        scene.Server.Query("CREATE ROLE nobody LOGIN");
        scene.User.RunPlain("pg", "init-server", "nobody", "--dsn", nobody).ShouldEndWith(0);
        scene.User.Run("pg", "dump", "nobody", "--", Rich).ShouldEndWith(13).Error.ShouldContain("permission denied for table t");
    }

    [Fact]
    public void AStandbyIsDumpedWhereThatIsAskedFor()
    {
        using PostgresScene scene = new();
        Remake(scene, "shop", "CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g");
        string standby = scene.StartStandby("standby");
        scene.User.RunPlain("pg", "init-server", "both", "--dsn", $"host={standby},{scene.Server.Folder} user=ci dbname=postgres").ShouldEndWith(0);
        JsonElement dumped = scene.User.Run("pg", "dump", "both", "shop", "--standby", "require", "--json", "--quiet").ShouldEndWith(0).Summary();
        PostgresScene.Number(dumped.GetProperty("db").GetProperty("databases")[0], "rows").ShouldBe(1000);
        scene.User.Run("pg", "dump", "main", "--standby", "require").ShouldEndWith(7).Error.ShouldContain("standby");

        // What is loaded goes to the primary, whatever stands first.
        scene.User.Run("pg", "load", "both", "--target-db", "copy").ShouldEndWith(0);
        scene.Server.Query("SELECT sum(g) FROM t", "copy").ShouldBe("500500");
        PostgresCluster.StopAt(standby, "immediate");
    }

    [Theory]
    [InlineData(13)]
    [InlineData(18)]
    public void OfOtherVersionsThePgDumpDecidesWhetherItCan(int version)
    {
        string binaries = PostgresServer.Other(version);
        using PostgresServer server = PostgresServer.Start(settings: "archive_command = 'true'", binaries: binaries);
        server.Sql("CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 1000) g", "CREATE INDEX i ON t (g)", "SELECT lo_from_bytea(4711, 'x')");
        int known = int.Parse(Path.GetFileName(Path.GetDirectoryName(PostgresCluster.Programs))!, System.Globalization.CultureInfo.InvariantCulture);
        ProgramRun dump = server.PgDefined("dump", "main", "--json", "--quiet");
        if (version > known)
        {
            dump.ShouldEndWith(1).Error.ShouldContain($"must be of version {version} or later");
            return;
        }

        PostgresScene.Number(dump.ShouldEndWith(0).Summary().GetProperty("db").GetProperty("databases")[0], "rows").ShouldBe(1000);
        server.PgDefined("load", "main", "--target-db", "copy").ShouldEndWith(0);
        server.PgDefined("load", "main", "--target-db", "part", "--table", "t").ShouldEndWith(0);
        server.Sql("SELECT count(*) FROM pg_database WHERE datname IN ('copy', 'part')").ShouldBe(["2"]);
    }

    private static string Text(string path)
    {
        try
        {
            return File.ReadAllText(path).Replace('\0', ' ');
        }
        catch (IOException)
        {
            return "";
        }
    }

    private static JsonElement Dump(PostgresScene scene, params string[] databases) =>
        scene.User.Run(WithWork(scene, ["pg", "dump", "--json", "--quiet", "main", "--", .. databases])).ShouldEndWith(0).Summary();

    private static JsonElement Load(PostgresScene scene, string target, params string[] flags)
    {
        Drop(scene, target);
        return scene.User.Run(WithWork(scene, ["pg", "load", "main", "--target-db", target, "--json", "--quiet", .. flags])).ShouldEndWith(0).Summary();
    }

    private static string[] WithWork(PostgresScene scene, params string[] words) => [.. words[..2], "--work", scene.User.MakeFolder("work"), .. words[2..]];

    private static string[] Leftovers(PostgresScene scene) => Directory.GetDirectories(scene.User.MakeFolder("work"));

    // Sessions of the dump, whatever they do.
    private static int Waiting(PostgresScene scene) =>
        int.Parse(scene.Server.Query("SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('pg_dump', 'backupiq') AND wait_event_type = 'Lock'"), System.Globalization.CultureInfo.InvariantCulture);

    private static void Wait(Func<bool> isSo) => PostgresServer.Wait(isSo, "it was so", seconds: 20);

    private static void Remake(PostgresScene scene, string database, string sql)
    {
        Drop(scene, database);
        scene.Server.Query($"CREATE DATABASE {Quoted(database)}");
        string file = scene.User.Write("schema.sql", sql);
        ScratchFolder.Run(PostgresCluster.Program("psql"), "-X", "-h", scene.Server.Folder, "-U", "ci", "-d", $"dbname='{Escaped(database)}'", "-v", "ON_ERROR_STOP=1", "-q", "-o", "/dev/null", "-f", file);
    }

    private static void Drop(PostgresScene scene, string database) => scene.Server.Query($"DROP DATABASE IF EXISTS {Quoted(database)} WITH (FORCE)");

    // What pg_dump says of a database, without what differs between any two runs of it.
    private static string Plain(PostgresScene scene, string database) => Restricted().Replace(
        ScratchFolder.Run(PostgresCluster.Program("pg_dump"), "-h", scene.Server.Folder, "-U", "ci", "-d", $"dbname='{Escaped(database)}'"), "");

    private static string Quoted(string name) => $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";

    private static string Escaped(string text) => text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("'", "\\'", StringComparison.Ordinal);

    [GeneratedRegex(@"^\\(un)?restrict .*$", RegexOptions.Multiline)]
    private static partial Regex Restricted();

    /// <summary>Holds a table so that nobody else may read it.</summary>
    private sealed class ScratchLock : IDisposable
    {
        private readonly Process _psql;

        public ScratchLock(PostgresScene scene, string database, string table)
        {
            _psql = Process.Start(new ProcessStartInfo(PostgresCluster.Program("psql"), ["-X", "-h", scene.Server.Folder, "-U", "ci", "-d", $"dbname='{Escaped(database)}'", "-Atq"])
            {
                RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
            })!;
            _psql.StandardInput.WriteLine($"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'held';");
            _psql.StandardInput.Flush();
            _psql.StandardOutput.ReadLine().ShouldBe("held");
        }

        public void Dispose()
        {
            if (!_psql.HasExited)
            {
                _psql.StandardInput.Close();
                _psql.WaitForExit();
            }
        }
    }
}
