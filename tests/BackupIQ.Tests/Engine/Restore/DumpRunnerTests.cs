using System.Diagnostics;
using System.IO.Compression;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository.Index;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Restore;

/// <summary>Parts of snapshots as streams, read by programs that others wrote.</summary>
public sealed class DumpRunnerTests : IAsyncDisposable
{
    private readonly BackedUpFolder _folder = new();

    public ValueTask DisposeAsync() => _folder.DisposeAsync();

    [Fact]
    public async Task AFileComesAsItIs()
    {
        byte[] content = _folder.WriteRandom("folder/file", 20_000_000, seed: 1);
        Snapshot snapshot = await _folder.BackupAsync();

        byte[] dumped = await DumpAsync(snapshot, _folder.In("folder/file"));

        dumped.AsSpan().SequenceEqual(content).ShouldBeTrue();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ATarOfEveryKindOfEntryUnpacksToTheSame(bool keepHoles)
    {
        EveryKindOfEntryTree.Fill(_folder.Root);
        if (!keepHoles)
        {
            // As zeros they would be many.
            ScratchFolder.Run("find", _folder.Root, "-type", "f", "-size", "+100M", "-delete");
        }

        Snapshot snapshot = await _folder.BackupAsync();
        List<string> left = [];
        DumpProgress progress = new() { OnIssue = issue => left.Add(issue.PathText + ": " + issue.Message) };

        byte[] tar = await DumpAsync(snapshot, _folder.Root, new DumpOptions { KeepHoles = keepHoles }, progress);
        string unpacked = Unpack(tar);

        left.ShouldAllBe(static line => line.Contains("socket", StringComparison.Ordinal));
        progress.HasDamage.ShouldBeFalse();
        string[] differences = ScratchFolder
            .Run("rsync", ["-aHAXn", "--numeric-ids", "--delete", "--itemize-changes", _folder.Root + "/", unpacked + "/"])
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);
        differences.Where(static line => !line.StartsWith("cS", StringComparison.Ordinal)).ShouldBeEmpty();
        if (keepHoles)
        {
            DiskUse(unpacked).ShouldBeInRange(DiskUse(_folder.Root) / 2, DiskUse(_folder.Root) * 2);
        }
    }

    [Fact]
    public async Task ASnapshotAsAWholeKeepsItsPathsWithoutTheFirstSlash()
    {
        _folder.Write("a/file", "content"u8.ToArray());
        Snapshot snapshot = await _folder.BackupAsync();

        string unpacked = Unpack(await DumpAsync(snapshot, "/"));

        File.ReadAllText(unpacked + _folder.In("a/file")).ShouldBe("content");
    }

    [Fact]
    public async Task WhatIsDamagedIsLeftOutAndNamedAndTheRestUnpacks()
    {
        _folder.WriteRandom("damaged", 3_000_000, seed: 1);
        Snapshot first = await _folder.BackupAsync();
        string[] packs = DataPacks();
        _folder.WriteRandom("whole/one", 3_000_000, seed: 2);
        _folder.WriteRandom("zz last", 300_000, seed: 3);
        Snapshot snapshot = await _folder.BackupAsync();
        foreach (string pack in packs)
        {
            Damage(pack, 1_000_000);
        }

        List<string> left = [];
        DumpProgress progress = new() { OnIssue = issue => left.Add($"{issue.PathText}: {issue.Code}") };
        string unpacked = Unpack(await DumpAsync(snapshot, _folder.Root, null, progress));

        left.ShouldHaveSingleItem().ShouldBe("/damaged: CorruptData");
        progress.HasDamage.ShouldBeTrue();
        Directory.GetFileSystemEntries(unpacked, "*", SearchOption.AllDirectories).Length.ShouldBe(3);
        File.ReadAllBytes(Path.Combine(unpacked, "whole/one")).ShouldBe(File.ReadAllBytes(_folder.In("whole/one")));
        first.Id.ShouldNotBe(snapshot.Id);
    }

    [Fact]
    public async Task DamageInTheMiddleOfALargeFileEndsTheStreamWithoutTheArchivesEnd()
    {
        _folder.WriteRandom("large", 30_000_000, seed: 1);

        // One worker stores the chunks in the file's order.
        Snapshot snapshot = await _folder.BackupAsync(readConcurrency: 1);
        foreach (string pack in DataPacks())
        {
            Damage(pack, 20_000_000);
        }

        MemoryStream tar = new();
        BackupIQException failure = await Should.ThrowAsync<BackupIQException>(() => DumpAsync(snapshot, _folder.Root, null, null, tar));

        failure.Code.ShouldBe(ErrorCodes.CorruptData);
        failure.Details["path"].ShouldBe("/large");
        tar.Length.ShouldBeGreaterThan(10_000_000);
        Should.Throw<InvalidOperationException>(() => Unpack(tar.ToArray())).Message.ShouldContain("Unexpected EOF");
    }

    [Fact]
    public async Task AZipUnpacksToTheSameContentsModesAndLinks()
    {
        byte[] content = _folder.WriteRandom("folder/random", 2_000_000, seed: 1);
        _folder.Write("100%25 of größe", "text"u8.ToArray());
        File.CreateSymbolicLink(_folder.In("link"), "folder/random");
        ScratchFolder.Run("chmod", "0751", _folder.In("folder/random"));
        Directory.CreateDirectory(_folder.In("empty"));
        Snapshot snapshot = await _folder.BackupAsync();

        using ZipArchive zip = new(new MemoryStream(await DumpAsync(snapshot, _folder.Root, new DumpOptions { Archive = DumpArchive.Zip })));

        zip.Entries.Select(static entry => entry.FullName).Order(StringComparer.Ordinal).ShouldBe(["100%2525 of größe", "empty/", "folder/", "folder/random", "link"]);
        using MemoryStream bytes = new();
        zip.GetEntry("folder/random")!.Open().CopyTo(bytes);
        bytes.ToArray().AsSpan().SequenceEqual(content).ShouldBeTrue();
        (zip.GetEntry("folder/random")!.ExternalAttributes >>> 16).ShouldBe(Convert.ToInt32("100751", 8));
        (zip.GetEntry("link")!.ExternalAttributes >>> 16 & 0xf000).ShouldBe(0xa000);
        new StreamReader(zip.GetEntry("link")!.Open()).ReadToEnd().ShouldBe("folder/random");
    }

    [Fact]
    public async Task ALinkIsNoFileAndSaysSo()
    {
        File.CreateSymbolicLink(_folder.In("link"), "/etc/passwd");
        Snapshot snapshot = await _folder.BackupAsync();

        BackupIQException failure = await Should.ThrowAsync<BackupIQException>(() => DumpAsync(snapshot, _folder.In("link")));

        failure.Code.ShouldBe(ErrorCodes.Usage);
    }

    private static long DiskUse(string folder) =>
        long.Parse(ScratchFolder.Run("du", "-s", "--block-size=1", folder).Split('\t')[0], System.Globalization.CultureInfo.InvariantCulture);

    private static void Damage(string pack, long offset)
    {
        ScratchFolder.Run("chmod", "0600", pack);
        using FileStream stream = File.Open(pack, FileMode.Open, FileAccess.ReadWrite);
        stream.Position = Math.Min(offset, stream.Length / 2);
        int old = stream.ReadByte();
        stream.Position--;
        stream.WriteByte((byte)~old);
    }

    private string[] DataPacks() => Directory.GetFiles(Path.Combine(_folder.RepositoryPath, "d"), "*", SearchOption.AllDirectories);

    private async Task<byte[]> DumpAsync(Snapshot snapshot, string path, DumpOptions? options = null, DumpProgress? progress = null, MemoryStream? output = null)
    {
        output ??= new MemoryStream();
        using ChunkIndex index = await _folder.IndexAsync();
        await DumpRunner.RunAsync(
            await _folder.RepositoryAsync(), index, snapshot, PathText.Bytes(path), output, options ?? new DumpOptions(), progress ?? new DumpProgress(), CancellationToken.None);
        return output.ToArray();
    }

    private string Unpack(byte[] tar)
    {
        string target = _folder.At("unpacked");
        Directory.CreateDirectory(target);
        using Process process = Process.Start(new ProcessStartInfo("tar", ["x", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-C", target])
        {
            RedirectStandardInput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        })!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        try
        {
            process.StandardInput.BaseStream.Write(tar);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // tar has seen enough; its status tells.
        }

        process.WaitForExit();
        return process.ExitCode == 0 ? target : throw new InvalidOperationException(error.Result);
    }
}
