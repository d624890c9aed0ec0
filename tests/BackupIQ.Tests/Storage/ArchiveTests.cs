using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Archive;
using BackupIQ.Testing.Files;
using BackupIQ.Tests.Fuzzing;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage;

/// <summary>The one file that an export is (docs/format.md, Exports).</summary>
public sealed class ArchiveTests : IDisposable
{
    private static readonly (string Name, byte[] Bytes)[] Objects =
    [
        ("keys/00112233445566778899aabbccddeeff", Encoding.ASCII.GetBytes(new string('k', 700))),
        ("d/ab/" + new string('a', 64), [.. Enumerable.Range(0, 1024).Select(static i => (byte)i)]),
        ("l/00112233445566778899aabbccddeeff.end", []),
    ];

    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public async Task TheBytesAreThoseOfTheSpecification()
    {
        byte[] archive = await WriteAsync();
        archive.Length.ShouldBe(512 + 512 + 512 + 1024 + 512 + 1024 + 512 + 1024);
        Convert.ToHexString(archive.AsSpan(1024, 512).TrimEnd((byte)0)).ToLowerInvariant().ShouldBe(
            Convert.ToHexString("keys/00112233445566778899aabbccddeeff"u8).ToLowerInvariant() + Zeros(63)
            + "3030303036303000" + "3030303030303000" + "3030303030303000" + "303030303030303132373400" + "303030303030303030303000"
            + "3031343436320020" + "30" + Zeros(100) + "7573746172003030" + Zeros(64) + "3030303030303000" + "30303030303030");
        Encoding.ASCII.GetString(archive.AsSpan(512, 511)).ShouldContain("backupiq import FILE");

        static string Zeros(int bytes) => new('0', 2 * bytes);
    }

    [Fact]
    public async Task TarListsAndUnpacksIt()
    {
        string file = _scratch.Write("export", await WriteAsync());
        ScratchFolder.Run("tar", "tf", file).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .ShouldBe([ArchiveHeader.Label, .. Objects.Select(static one => one.Name)]);
        Directory.CreateDirectory(_scratch.At("unpacked"));
        ScratchFolder.Run("tar", "xf", file, "-C", _scratch.At("unpacked"));
        foreach ((string name, byte[] bytes) in Objects)
        {
            File.ReadAllBytes(_scratch.At("unpacked", name)).ShouldBe(bytes);
        }
    }

    [Fact]
    public async Task WhatWasPutIsReadListedAndStated()
    {
        await using ArchiveBackend archive = ArchiveBackend.Open(_scratch.Write("export", await WriteAsync()));
        foreach ((string name, byte[] bytes) in Objects)
        {
            StorageKey key = new(name);
            (await archive.StatAsync(key, CancellationToken.None))!.Value.Size.ShouldBe(bytes.Length);
            byte[] read = new byte[bytes.Length + 10];
            (await archive.ReadAsync(key, 0, read, CancellationToken.None)).ShouldBe(bytes.Length);
            read[..bytes.Length].ShouldBe(bytes);
            (await archive.ReadAsync(key, 3, read.AsMemory(0, 5), CancellationToken.None)).ShouldBe(Math.Clamp(bytes.Length - 3, 0, 5));
        }

        List<string> listed = [];
        await foreach (StoredObject stored in archive.ListAsync("l/", CancellationToken.None))
        {
            listed.Add(stored.Key.Value);
        }

        listed.ShouldBe([Objects[2].Name]);
        StorageException refused = await Should.ThrowAsync<StorageException>(
            async () => await archive.PutAsync(new StorageKey("s/x"), StorageContent.FromBytes(default), CancellationToken.None));
        refused.Message.ShouldContain("only read");
    }

    [Fact]
    public async Task AFileThatIsCutShortAnywhereIsRefused()
    {
        byte[] archive = await WriteAsync();
        for (int length = 0; length < archive.Length; length += length % 512 == 0 ? 1 : 511)
        {
            StorageException refusal = Should.Throw<StorageException>(() => ArchiveBackend.ReadTable(Reader(archive[..length]), length, "x"));
            refusal.Code.ShouldBe(length < 512 ? ErrorCodes.RepositoryNotFound : ErrorCodes.CorruptData);
        }
    }

    [Fact]
    public async Task AFlippedBitInAnyHeaderOrTheEndIsRefused()
    {
        byte[] archive = await WriteAsync();
        int[] headers = [0, 1024, 2560, 4096, 4608, 5120];
        foreach (int at in headers.SelectMany(static start => Enumerable.Range(start, 512)))
        {
            archive[at] ^= 4;
            Should.Throw<StorageException>(() => ArchiveBackend.ReadTable(Reader(archive), archive.Length, "x"), $"byte {at}");
            archive[at] ^= 4;
        }

        byte[] longer = [.. archive, 0];
        Should.Throw<StorageException>(() => ArchiveBackend.ReadTable(Reader(longer), longer.Length, "x"));
    }

    [Fact]
    public async Task WhatIsWrittenCannotBeChangedNorWrittenTwice()
    {
        using MemoryStream output = new();
        await using ArchiveWriter writer = new(output, TimeProvider.System);
        StorageKey key = new("config/a.00000001");
        (await writer.PutAsync(key, StorageContent.FromBytes("one"u8.ToArray()), CancellationToken.None)).ShouldBe(PutOutcome.Stored);
        (await writer.PutAsync(key, StorageContent.FromBytes("one"u8.ToArray()), CancellationToken.None)).ShouldBe(PutOutcome.Stored);
        (await writer.PutAsync(key, StorageContent.FromBytes("two"u8.ToArray()), CancellationToken.None)).ShouldBe(PutOutcome.AlreadyThere);
        byte[] read = new byte[8];
        (await writer.ReadAsync(key, 0, read, CancellationToken.None)).ShouldBe(3);
        Should.Throw<StorageException>(() => writer.DeleteAsync(key, CancellationToken.None));
    }

    [Fact]
    [Trait("kind", "fuzz")]
    public async Task Archives()
    {
        byte[] archive = await WriteAsync();
        Fuzz.Run([archive, archive[..4096], archive[4608..]], bytes =>
        {
            Dictionary<string, ArchiveBackend.Item> items = bytes.Length > 0 ? ReadOrRefuse(bytes) : [];
            items.Values.ShouldAllBe(item => item.Offset > 0 && item.Length >= 0 && item.Offset + item.Length <= bytes.Length);
        });
    }

    private static Dictionary<string, ArchiveBackend.Item> ReadOrRefuse(byte[] bytes)
    {
        try
        {
            return ArchiveBackend.ReadTable(Reader(bytes), bytes.Length, "x");
        }
        catch (StorageException)
        {
            return [];
        }
    }

    private static Func<byte[], long, bool> Reader(byte[] file) => (bytes, at) =>
    {
        if (at + bytes.Length > file.Length)
        {
            return false;
        }

        file.AsSpan((int)at, bytes.Length).CopyTo(bytes);
        return true;
    };

    private async Task<byte[]> WriteAsync()
    {
        using MemoryStream output = new();
        await using ArchiveWriter writer = new(output, TimeProvider.System);
        foreach ((string name, byte[] bytes) in Objects)
        {
            StorageContent content = StorageContent.FromBytes(bytes);
            if (name.StartsWith("d/", StringComparison.Ordinal))
            {
                content = StorageContent.FromFile(_scratch.Write("pack", bytes));
            }

            (await writer.PutAsync(new StorageKey(name), content, CancellationToken.None)).ShouldBe(PutOutcome.Stored);
        }

        File.Exists(_scratch.At("pack")).ShouldBeFalse();
        await writer.FinishAsync(CancellationToken.None);
        writer.Length.ShouldBe(output.Length);
        return output.ToArray();
    }
}
