using System.Text;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Backup;
using BackupIQ.Sources.Postgres.Dump;
using BackupIQ.Sources.Postgres.Restore;
using BackupIQ.Sources.Postgres.Streaming;
using BackupIQ.Sources.Postgres.Verification;
using BackupIQ.Tests.Sources.Postgres;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>Whatever a server, its files or a snapshot of it say, who reads it refuses it or reads it.</summary>
[Trait("kind", "fuzz")]
public sealed class PostgresParserFuzzTests
{
    [Fact]
    public void PgControl() => Fuzz.Run(
        [PostgresBytes.Control],
        static bytes =>
        {
            if (ControlFile.TryRead(bytes) is { } control)
            {
                control.BlockSize.ShouldBeInRange(1024, 32768);
                control.WalSegmentSize.ShouldBeInRange(1u << 20, 1u << 30);
            }
        });

    [Fact]
    public void LabelsAndMaps() => Fuzz.Run(
        ["START WAL LOCATION: 0/90062E8 (file 000000010000000000000009)\nSTART TIMELINE: 1\n"u8.ToArray()],
        static bytes =>
        {
            string text = Encoding.UTF8.GetString(bytes);
            _ = RecoverySettings.TablespaceMap(text, new Dictionary<string, string> { ["START"] = "/new" });
            _ = RecoverySettings.AutoConf(text, [("archive_mode", "off")]);
            BackupLabel.Parse(text).Timeline.ShouldBeGreaterThan(0u);
        });

    [Fact]
    public void Documents() => Fuzz.Run(
        [Document()],
        static bytes => IfJson(bytes, static json =>
        {
            PostgresDocument document = PostgresDocument.Read(json);
            document.Wal.ShouldAllBe(static name => name.Length == 24);
            document.Tablespaces.ShouldAllBe(static tablespace => tablespace.Location.StartsWith('/'));
            StoredBackup stored = new(document);
            stored.See("/main/tail/backup_label"u8.ToArray(), 100);
            stored.LogProblems().ShouldNotBeEmpty();
            _ = stored.LabelProblems();
            _ = stored.HistoryProblems();
        }));

    [Fact]
    public void Dsns() => Fuzz.Run(
        ["host=/run/postgresql user='a b' port=5432"u8.ToArray(), "postgres://a@b:5432/c?sslmode=require"u8.ToArray()],
        static bytes => PostgresDsn.Parse(Encoding.UTF8.GetString(bytes)).Place.ShouldNotBeEmpty(),
        perByte: 1024);

    [Fact]
    public void StreamedArchives() => Fuzz.Run(
        [PostgresStreamingTests.Archive(("base/1/1259", 700), ("empty", 0), ("one", 1))],
        static bytes =>
        {
            TarUnpacker unpacker = new(new PlainPaths());
            foreach (byte[] piece in bytes.Chunk(700))
            {
                unpacker.Add(piece);
            }

            unpacker.Complete();
        });

    [Fact]
    public void StreamedManifests() => Fuzz.Run(
        [PostgresStreamingTests.Manifest("1ef230f1")],
        static bytes => BackupManifest.Verify(bytes, new Dictionary<string, (long, uint)> { ["base/1/2"] = (3, 0xF130_F21E) }));

    [Fact]
    public void WireMessages() => Fuzz.Run(
        [[0, 2, 0, 0, 0, 1, 65, 255, 255, 255, 255], [(byte)'C', 50, 50, 0, (byte)'M', 65, 0, 0]],
        static bytes =>
        {
            _ = bytes is [< 2, ..] ? WireConnection.ReadRow(bytes).Length : WireError.Read(bytes).Message.Length;
        });

    [Fact]
    public void Challenges() => Fuzz.Run(
        ["r=abcd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1"u8.ToArray()],
        static bytes =>
        {
            // Many rounds are no fault of the parser, but would take the time of this test.
            string text = Encoding.UTF8.GetString(bytes);
            if (text.Length - text.LastIndexOf('=') < 6)
            {
                new ScramExchange("pencil", "abc").Answer(bytes);
            }
        });

    private sealed class PlainPaths : ITarReceiver
    {
        private long _left;

        public void Begin(TarEntry entry)
        {
            entry.Path.StartsWith('/').ShouldBeFalse();
            entry.Path.Split('/').ShouldNotContain("..");
            _left = entry.Size;
        }

        public void Write(ReadOnlySpan<byte> piece) => (_left -= piece.Length).ShouldBeGreaterThanOrEqualTo(0);

        public void End() => _left.ShouldBe(0);
    }

    [Fact]
    public void TablesOfContentsOfDumps() => Fuzz.Run(
        [
            new DumpTocBuilder(14).Add("TABLE", "t", on: 2).Add("ACL", "TABLE t", definition: "GRANT SELECT ON t TO \"a\"\"b\";", on: 1).Add("TABLE DATA", "t", file: "3.dat", on: 1).Build(),
            new DumpTocBuilder(16).Add("TABLE", "t").Add("FK CONSTRAINT", "t f", on: [1, 3]).Add("TABLE ATTACH", "t", on: [1, 2]).Build(),
        ],
        static bytes =>
        {
            if (DumpToc.Read(bytes) is { } entries)
            {
                DumpSelection selection = DumpSelection.Of(entries, ["t"], []);
                selection.Entries.ShouldNotBeEmpty();
                selection.Roles().ShouldNotContain("PUBLIC");
            }
        },
        perByte: 2048);

    [Fact]
    public void DocumentsOfDumps() => Fuzz.Run(
        [DumpDocument()],
        static bytes => IfJson(bytes, static json =>
        {
            PostgresDumpDocument.Read(json).Databases.ShouldAllBe(static database => database.Folder.Length > 0 && !database.Folder.Contains('/') && database.Folder != "..");
        }));

    private static byte[] DumpDocument() => Encoding.UTF8.GetBytes(new PostgresDumpDocument
    {
        Server = "main",
        SystemIdentifier = "7712463057743661131",
        ServerVersion = "15.18",
        Major = 15,
        DumpVersion = "15.18",
        DumpMajor = 15,
        Started = DateTimeOffset.UnixEpoch,
        Stopped = DateTimeOffset.UnixEpoch,
        RolePasswords = false,
        Databases =
        [
            new PostgresDumpedDatabase
            {
                Name = "a/b", Folder = "a%2Fb", Owner = "ci", Encoding = "UTF8", Collate = "C", CharacterType = "C", LocaleProvider = "c", Snapshot = "00000004-00000CF2-1", Lsn = "0/9274440",
                Time = DateTimeOffset.UnixEpoch, Size = 1, LargeObjects = 0, TableCount = 1, Tables = [new PostgresDumpedTable("public", "t", 7)],
            },
        ],
    }.ToJson().GetRawText());

    private static byte[] Document() => Encoding.UTF8.GetBytes(new PostgresDocument
    {
        Server = "main",
        SystemIdentifier = "7712463057743661131",
        ServerVersion = "15.18",
        Major = 15,
        CatalogVersion = 202209061,
        BlockSize = 8192,
        SegmentBlocks = 131072,
        WalSegmentSize = 16 << 20,
        Checksums = true,
        Timeline = 1,
        WalStartLsn = "0/90062E8",
        WalEndLsn = "0/9274440",
        Started = DateTimeOffset.UnixEpoch,
        Stopped = DateTimeOffset.UnixEpoch,
        DataDirectory = "/data",
        OwnerUserId = 101,
        OwnerGroupId = 104,
        Wal = ["000000010000000000000009"],
        Databases = [new PostgresDatabase(5, "postgres", new Dictionary<string, long> { ["public.t"] = 7 }) { Schema = new PostgresSchemaRecord { Tables = 1, Columns = 2, Indexes = 1, Constraints = 1, Relations = new Dictionary<string, string> { ["public.t"] = "0123456789abcdef" } } }],
        Superuser = "postgres",
        Tablespaces = [new PostgresTablespace(16400, "fast", "/mnt/fast")],
        ConfigFiles = new Dictionary<string, string> { ["hba_file"] = "/etc/pg_hba.conf" },
        PageErrors = [new PostgresPageError("base/5/1", 100)],
        PageErrorCount = 1,
    }.ToJson().GetRawText());

    // What is no JSON at all a snapshot refuses before.
    private static void IfJson(byte[] bytes, Action<JsonElement> read)
    {
        JsonDocument json;
        try
        {
            json = JsonDocument.Parse(bytes);
        }
        catch (JsonException)
        {
            return;
        }

        using (json)
        {
            read(json.RootElement);
        }
    }
}
