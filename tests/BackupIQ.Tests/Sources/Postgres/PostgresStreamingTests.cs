using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Streaming;
using BackupIQ.Sources.Postgres.Wal;
using Shouldly;
using Xunit;
using TarEntry = BackupIQ.Sources.Postgres.Streaming.TarEntry;

namespace BackupIQ.Tests.Sources.Postgres;

/// <summary>What a server sends over the network, and how one logs in there.</summary>
public sealed class PostgresStreamingTests
{
    private const string Nonce = "rOprNGfwEbeRWgbNEkqO";
    private const string Challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    [Fact]
    public void ThePasswordIsProvenAsTheStandardShows()
    {
        ScramExchange scram = new("pencil", Nonce, "user");
        Encoding.UTF8.GetString(scram.First()).ShouldBe("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        Encoding.UTF8.GetString(scram.Answer(Encoding.UTF8.GetBytes(Challenge)))
            .ShouldBe("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        scram.IsProven.ShouldBeFalse();
        scram.Finish("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="u8);
        scram.IsProven.ShouldBeTrue();
    }

    [Theory]
    [InlineData("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")]
    [InlineData("v=")]
    [InlineData("e=other-error")]
    public void AServerThatDoesNotKnowThePasswordIsRefused(string final)
    {
        ScramExchange scram = new("pencil", Nonce, "user");
        scram.Answer(Encoding.UTF8.GetBytes(Challenge));
        Should.Throw<BackupIQException>(() => scram.Finish(Encoding.UTF8.GetBytes(final))).Code.ShouldBe(ErrorCodes.Authorization);
        scram.IsProven.ShouldBeFalse();
    }

    [Theory]
    [InlineData("r=another%hvYDpWUa2RaTCAfuxFIlj,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")]
    [InlineData("r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")]
    [InlineData("r=rOprNGfwEbeRWgbNEkqO1,s=,i=4096")]
    [InlineData("r=rOprNGfwEbeRWgbNEkqO1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=2000000000")]
    [InlineData("r=rOprNGfwEbeRWgbNEkqO1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0")]
    public void AChallengeThatIsNoneIsNotAnswered(string challenge) =>
        Should.Throw<BackupIQException>(() => new ScramExchange("pencil", Nonce).Answer(Encoding.UTF8.GetBytes(challenge))).Code.ShouldBe(ErrorCodes.Authorization);

    [Fact]
    public void TheOldDigestIsThatOfTheServer() =>
        WireConnection.Md5Answer("backup", "secret", [1, 2, 3, 4]).ShouldBe("md5" + Md5(Encoding.ASCII.GetBytes(Md5("secretbackup"u8.ToArray())).Concat(new byte[] { 1, 2, 3, 4 }).ToArray()));

    [Theory]
    [InlineData(1)]
    [InlineData(511)]
    [InlineData(512)]
    [InlineData(100_000)]
    public void AnArchiveIsTakenApartInPiecesOfAnyLength(int length)
    {
        byte[] archive = Archive(("base/1/1259", 8192), ("empty", 0), ("one", 1), ("global/pg_control", 8192), ("odd", 12345));
        Received received = new();
        TarUnpacker unpacker = new(received);
        for (int at = 0; at < archive.Length; at += length)
        {
            unpacker.Add(archive.AsSpan(at, Math.Min(length, archive.Length - at)));
        }

        unpacker.Complete();
        received.Files.ShouldBe(["base/1/1259 8192", "empty 0", "one 1", "global/pg_control 8192", "odd 12345"]);
        received.Content.Length.ShouldBe(8192 + 1 + 8192 + 12345);
        received.Content.ToArray().ShouldAllBe(static one => one == 7);
    }

    [Fact]
    public void AnArchiveWithoutAnEndIsWhatServersBefore15Send()
    {
        byte[] archive = Archive(("one", 512));
        Received received = new();
        TarUnpacker unpacker = new(received);
        unpacker.Add(archive.AsSpan(0, 1024));
        unpacker.Complete();
        received.Files.ShouldBe(["one 512"]);

        TarUnpacker cut = new(new Received());
        cut.Add(archive.AsSpan(0, 1000));
        Should.Throw<BackupIQException>(cut.Complete).Code.ShouldBe(ErrorCodes.SourceServer);
    }

    [Theory]
    [InlineData("../outside")]
    [InlineData("/etc/passwd")]
    [InlineData("base/../../outside")]
    [InlineData("base//1")]
    [InlineData("base/./1")]
    public void APathThatLeavesItsFolderIsRefused(string path)
    {
        byte[] archive = Archive(("x", 10));
        Rename(archive, path);
        Received received = new();
        Should.Throw<BackupIQException>(() => new TarUnpacker(received).Add(archive)).Code.ShouldBe(ErrorCodes.SourceServer);
        received.Files.ShouldBeEmpty();
    }

    [Fact]
    public void AHeaderThatWasChangedIsRefused()
    {
        byte[] archive = Archive(("x", 10));
        for (int i = 0; i < 512; i += 3)
        {
            archive[i] ^= 0x21;
            Should.Throw<BackupIQException>(() => new TarUnpacker(new Received()).Add(archive)).Code.ShouldBe(ErrorCodes.SourceServer);
            archive[i] ^= 0x21;
        }
    }

    [Fact]
    public void FilesAreComparedWithTheServersList()
    {
        byte[] content = [1, 2, 3];
        uint checksum = WalChecksum.Finish(WalChecksum.Append(WalChecksum.Start, content));
        Dictionary<string, (long, uint)> Whole() => new() { ["base/1/2"] = (3, checksum), ["pg_wal/1"] = (9, 9) };
        BackupManifest.Verify(Manifest("1ef230f1"), Whole());
        Should.Throw<BackupIQException>(() => BackupManifest.Verify(Manifest("1ef230f0"), Whole())).Message.ShouldContain("base/1/2");
        Should.Throw<BackupIQException>(() => BackupManifest.Verify(Manifest("1ef230f1"), new Dictionary<string, (long, uint)>())).Message.ShouldContain("base/1/2");
        byte[] changed = Manifest("1ef230f1");
        changed[40] ^= 1;
        Should.Throw<BackupIQException>(() => BackupManifest.Verify(changed, Whole())).Code.ShouldBe(ErrorCodes.SourceServer);
    }

    /// <summary>A list of one file of three bytes.</summary>
    internal static byte[] Manifest(string checksum)
    {
        string text = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{ \"Path\": \"base/1/2\", \"Size\": 3, \"Last-Modified\": \"2026-11-26 15:00:00 GMT\", \"Checksum-Algorithm\": \"CRC32C\", "
            + $"\"Checksum\": \"{checksum}\" }}\n],\n\"WAL-Ranges\": [],\n";
        return Encoding.UTF8.GetBytes($"{text}\"Manifest-Checksum\": \"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))}\"}}\n");
    }

    /// <summary>An archive of files of sevens, as others write it.</summary>
    internal static byte[] Archive(params (string Name, int Size)[] files)
    {
        using MemoryStream archive = new();
        using (TarWriter writer = new(archive, TarEntryFormat.Ustar))
        {
            foreach ((string name, int size) in files)
            {
                byte[] content = new byte[size];
                content.AsSpan().Fill(7);
                writer.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, name) { DataStream = new MemoryStream(content), Mode = UnixFileMode.UserRead });
            }
        }

        return archive.ToArray();
    }

    private static void Rename(byte[] archive, string name)
    {
        archive.AsSpan(0, 100).Clear();
        Encoding.UTF8.GetBytes(name, archive);
        archive.AsSpan(148, 8).Fill((byte)' ');
        int sum = archive.AsSpan(0, 512).ToArray().Sum(static one => one);
        Encoding.ASCII.GetBytes($"{Convert.ToString(sum, 8).PadLeft(6, '0')}\0 ", archive.AsSpan(148));
    }

    [System.Diagnostics.CodeAnalysis.SuppressMessage("Security", "CA5351", Justification = "It is what the protocol asks for.")]
    private static string Md5(byte[] bytes) => Convert.ToHexStringLower(MD5.HashData(bytes));

    private sealed class Received : ITarReceiver
    {
        private TarEntry? _open;
        private long _length;

        public List<string> Files { get; } = [];

        public MemoryStream Content { get; } = new();

        public void Begin(TarEntry entry) => (_open, _length) = (entry, 0);

        public void Write(ReadOnlySpan<byte> piece)
        {
            _length += piece.Length;
            Content.Write(piece);
        }

        public void End()
        {
            _length.ShouldBe(_open!.Size);
            Files.Add($"{_open.Path} {_length}");
        }
    }
}
