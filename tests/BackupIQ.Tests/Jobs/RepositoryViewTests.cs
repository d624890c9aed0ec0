using BackupIQ.Jobs;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;
using BackupIQ.Tests.Server;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Jobs;

/// <summary>What servers and mounts read from, while others work on the repository.</summary>
public sealed class RepositoryViewTests : IAsyncLifetime
{
    private readonly ServedRepository _served = new();

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => _served.DisposeAsync();

    [Fact]
    public async Task WhatPruneMovedMeanwhileIsFoundAgain()
    {
        // Side by side, so that they share packs.
        byte[][] kept = [.. Enumerable.Range(0, 30).Select(i => _served.WriteRandom($"{i} kept", 200_000, seed: i))];
        for (int i = 0; i < kept.Length; i++)
        {
            _served.WriteRandom($"{i} dropped", 600_000, seed: 1000 + i);
        }

        SnapshotInfo first = await _served.BackUpAsync();
        for (int i = 0; i < kept.Length; i++)
        {
            File.Delete(_served.In($"{i} dropped"));
        }

        await _served.BackUpAsync();
        RepositoryView view = await _served.ViewOfRootAsync();
        List<ViewFile> open = [];
        for (int i = 0; i < kept.Length; i++)
        {
            open.Add(view.OpenFile((await view.FindAsync(view.Root, System.Text.Encoding.UTF8.GetBytes($"{i} kept"), CancellationToken.None))!));
        }

        ForgetPreview preview = await _served.Writer.PlanForgetAsync(
            new SnapshotSelection([first.Id], new SnapshotQuery()), new RetentionRequest { Grace = TimeSpan.Zero, AllowMass = true });
        await _served.Writer.ForgetAsync(preview);
        await _served.Writer.PruneAsync(new PruneRequest { MaxUnused = "0", Exclusive = true });

        byte[] read = new byte[200_000];
        for (int i = 0; i < kept.Length; i++)
        {
            (await open[i].ReadAsync(0, read, CancellationToken.None)).ShouldBe(read.Length);
            read.AsSpan().SequenceEqual(kept[i]).ShouldBeTrue();
        }

        // The reader lists the index again by itself; only where that is not enough is everything loaded anew.
        view.Loads.ShouldBeInRange(1, 2);
        (await view.FindAsync(view.Root, "0 dropped"u8.ToArray(), CancellationToken.None)).ShouldBeNull();
    }

    [Fact]
    public async Task WhatIsLostForGoodIsSaidAndNotLookedForWithEachRead()
    {
        _served.WriteRandom("lost", 3_000_000, seed: 1);
        await _served.BackUpAsync();
        RepositoryView view = await _served.ViewOfRootAsync();
        ViewFile open = view.OpenFile((await view.FindAsync(view.Root, "lost"u8.ToArray(), CancellationToken.None))!);
        Directory.Delete(Path.Combine(_served.RepositoryPath, "d"), recursive: true);

        for (int i = 0; i < 3; i++)
        {
            BackupIQException failure = await Should.ThrowAsync<BackupIQException>(async () => await open.ReadAsync(0, new byte[1000], CancellationToken.None));
            RepositoryView.IsGone(failure).ShouldBeTrue(failure.Code.ToString());
        }

        view.Loads.ShouldBe(2);
    }

    [Fact]
    public async Task ManyOpenFilesReadAtRandomKeepNoMoreThanTheBudget()
    {
        const long Memory = 32 << 20;
        byte[][] contents = [.. Enumerable.Range(0, 6).Select(i => _served.WriteRandom($"file {i}", 9_000_000, seed: i))];
        await _served.BackUpAsync();
        RepositoryView view = await _served.ViewOfRootAsync(Memory);
        Random random = new(7);
        byte[] buffer = new byte[300_000];
        for (int i = 0; i < 300; i++)
        {
            int which = random.Next(contents.Length);
            ViewFile file = view.OpenFile((await view.FindAsync(view.Root, System.Text.Encoding.UTF8.GetBytes($"file {which}"), CancellationToken.None))!);
            int from = random.Next(contents[which].Length);
            int read = await file.ReadAsync(from, buffer, CancellationToken.None);
            buffer.AsSpan(0, read).SequenceEqual(contents[which].AsSpan(from, Math.Min(buffer.Length, contents[which].Length - from))).ShouldBeTrue();
            view.HeldBytes.ShouldBeLessThanOrEqualTo(Memory);
        }
    }

    [Fact]
    public async Task HolesAndDataAreFoundInASparseFile()
    {
        using (FileStream sparse = File.Create(_served.In("sparse")))
        {
            sparse.Position = 1 << 20;
            sparse.Write(new byte[4096].Select(static (_, i) => (byte)(i + 1)).ToArray());
            sparse.SetLength(3 << 20);
        }

        _served.WriteRandom("dense", 5_000, seed: 1);
        await _served.BackUpAsync();
        RepositoryView view = await _served.ViewOfRootAsync();
        ViewFile file = view.OpenFile((await view.FindAsync(view.Root, "sparse"u8.ToArray(), CancellationToken.None))!);

        file.Seek(0, hole: true).ShouldBe(0);
        file.Seek(0, hole: false).ShouldBe(1 << 20);
        file.Seek((1 << 20) + 5, hole: false).ShouldBe((1 << 20) + 5);
        file.Seek(1 << 20, hole: true).ShouldBe((1 << 20) + 4096);
        file.Seek(2 << 20, hole: false).ShouldBeNull();
        file.Seek(3 << 20, hole: true).ShouldBeNull();
        ViewFile dense = view.OpenFile((await view.FindAsync(view.Root, "dense"u8.ToArray(), CancellationToken.None))!);
        dense.Seek(10, hole: true).ShouldBe(5_000);
        dense.Seek(4_999, hole: false).ShouldBe(4_999);
        dense.Seek(5_000, hole: false).ShouldBeNull();
    }
}
