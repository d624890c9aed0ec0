using BackupIQ.Jobs.Composition;
using BackupIQ.Storage;
using BackupIQ.Storage.Mirroring;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;
using static BackupIQ.Tests.Storage.Mirroring.MirrorKit;

namespace BackupIQ.Tests.Storage.Mirroring;

/// <summary>
/// Random scripts: some who work with the mirror and some who know nothing of it back up, share contents, compact and remove, while requests to the mirror fail before or after their effect and
/// runs are killed. After every step no root of the mirror lacks anything, and what was acknowledged is on the storage; in the end the mirror is brought in step.
/// </summary>
public sealed class MirrorScriptTests
{
    private const int Scripts = 400;

    private static readonly StorageOperation[] Operations = [StorageOperation.Put, StorageOperation.List, StorageOperation.Read, StorageOperation.Stat, StorageOperation.Delete];

    [Fact]
    public async Task NoRootOfAMirrorEverLacksAnything()
    {
        int behind = 0;
        int roots = 0;
        for (int seed = 0; seed < Scripts; seed++)
        {
            Script script = new(seed);
            await script.RunAsync();
            behind += script.TimesBehind;
            roots += script.RootsOnMirror;
        }

        // The scripts do what they are for.
        behind.ShouldBeGreaterThan(Scripts / 2);
        roots.ShouldBeGreaterThan(Scripts);
    }

    private sealed class Script(int seed)
    {
        private readonly Random _random = new(seed);
        private readonly MemoryBackend _storage = new(TimeProvider.System);
        private readonly MemoryBackend _mirror = new(TimeProvider.System);
        private readonly Dictionary<string, string[]> _segments = new(StringComparer.Ordinal);
        private readonly Dictionary<string, string> _roots = new(StringComparer.Ordinal);
        private int _number;

        public int TimesBehind { get; private set; }

        public int RootsOnMirror { get; private set; }

        public async Task RunAsync()
        {
            await IdentifyAsync("one", _storage, _mirror);
            int runs = _random.Next(4, 9);
            for (int run = 0; run < runs; run++)
            {
                await RunOneAsync();
                (await LackingAsync(_mirror)).ShouldBeNull($"seed {seed}, run {run}");
                (await LackingAsync(_storage)).ShouldBeNull($"seed {seed}, run {run}");
                (await NamesAsync(_storage, "s/")).ShouldBe(_roots.Keys.Order(StringComparer.Ordinal), ignoreOrder: false, $"seed {seed}, run {run}");
            }

            RootsOnMirror = (await NamesAsync(_mirror, "s/")).Count;
            MirrorPipeline sync = new(_storage, _mirror, MirroredStorage.Layout, TimeProvider.System);
            await sync.RemoveStrayRootsAsync(await sync.CompareAsync([], default), default);
            (MirrorPlan plan, bool isWhole) = await sync.FollowAsync([], mayRemove: true, default);
            isWhole.ShouldBeTrue($"seed {seed}");
            await sync.RemoveStrayAsync(plan, default);
            (await NamesAsync(_mirror)).ShouldBe(await NamesAsync(_storage), ignoreOrder: false, $"seed {seed}");
        }

        // One process: with the mirror, on which something may go wrong, or without it; it may be killed.
        private async Task RunOneAsync()
        {
            bool isMirrored = _random.Next(3) > 0;
            Fault[] faults = [.. Enumerable.Range(0, _random.Next(3)).Select(_ => new Fault(
                Operations[_random.Next(Operations.Length)], "", _random.Next(2) == 0 ? FaultKind.FailBefore : FaultKind.FailAfter) { Skip = _random.Next(8), Times = _random.Next(1, 4) })];
            FaultyBackend faulty = new(_mirror, TimeProvider.System, faults);
            using CancellationTokenSource killed = new();
            KilledBackend dying = new(faulty, killed, _random.Next(4) == 0 ? _random.Next(1, 12) : int.MaxValue);
            await using MirroredBackend? both = isMirrored
                ? await OpenAsync(_storage, Options(notice => TimesBehind += notice.IsBehind == true ? 1 : 0), Source(dying))
                : null;
            IStorageBackend storage = both ?? (IStorageBackend)_storage;
            try
            {
                switch (_random.Next(4))
                {
                    case 0 when _segments.Count > 1:
                        await CompactAsync(storage, killed.Token);
                        break;
                    case 1 when _roots.Count > 0:
                        await RemoveAsync(storage, killed.Token);
                        break;
                    default:
                        await BackUpAsync(storage, killed.Token);
                        break;
                }
            }
            catch (OperationCanceledException)
            {
                // What the storage has, counts: the run may have been killed between the put and its answer.
                await ResumeAsync();
            }
        }

        private async Task BackUpAsync(IStorageBackend storage, CancellationToken cancellationToken)
        {
            string[] contents = [.. Enumerable.Range(0, _random.Next(1, 4)).Select(_ => $"d/aa/{_number++}")];
            foreach (string content in contents)
            {
                await PutAsync(storage, content, "content " + content, cancellationToken);
            }

            string segment = $"i/{_number++}";
            await PutAsync(storage, segment, string.Join(' ', contents), cancellationToken);
            _segments[segment] = contents;
            string[] needed = [segment, .. _segments.Keys.Where(_ => _random.Next(3) == 0 && _ != segment)];
            string root = $"s/{_number++}";
            await PutAsync(storage, root, string.Join(' ', needed), cancellationToken);
            _roots[root] = string.Join(' ', needed);
        }

        // Roots name their segments here, so that one that is named stays; what no root needs is put together or goes.
        private async Task CompactAsync(IStorageBackend storage, CancellationToken cancellationToken)
        {
            string[] free = [.. _segments.Keys.Where(segment => !_roots.Values.Any(root => root.Split(' ').Contains(segment)))];
            foreach (string segment in free)
            {
                string moved = $"d/aa/{_number++}";
                await PutAsync(storage, moved, "content " + moved, cancellationToken);
                string union = $"i/{_number++}";
                await PutAsync(storage, union, moved, cancellationToken);
                _segments[union] = [moved];
                await storage.DeleteAllAsync([new StorageKey(segment)], cancellationToken);
                string[] contents = _segments[segment];
                _segments.Remove(segment);
                await storage.DeleteAllAsync([.. contents.Select(static content => new StorageKey(content))], cancellationToken);
            }
        }

        private async Task RemoveAsync(IStorageBackend storage, CancellationToken cancellationToken)
        {
            string root = _roots.Keys.ElementAt(_random.Next(_roots.Count));
            await storage.DeleteAsync(new StorageKey(root), cancellationToken);
            _roots.Remove(root);
        }

        private async Task ResumeAsync()
        {
            SortedSet<string> names = await NamesAsync(_storage);
            foreach (string root in _roots.Keys.Where(root => !names.Contains(root)).ToArray())
            {
                _roots.Remove(root);
            }

            foreach (string root in names.Where(name => name.StartsWith("s/", StringComparison.Ordinal) && !_roots.ContainsKey(name)))
            {
                _roots[root] = await TextAsync(_storage, root);
            }

            foreach (string segment in _segments.Keys.Where(segment => !names.Contains(segment)).ToArray())
            {
                _segments.Remove(segment);
            }

            foreach (string segment in names.Where(name => name.StartsWith("i/", StringComparison.Ordinal) && !_segments.ContainsKey(name)))
            {
                _segments[segment] = (await TextAsync(_storage, segment)).Split(' ');
            }
        }
    }

    /// <summary>After so many calls nothing comes through any more, and whoever waits is cancelled.</summary>
    private sealed class KilledBackend(IStorageBackend inner, CancellationTokenSource killed, int after) : DelegatingBackend(inner)
    {
        private int _calls;

        public override ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
        {
            Count();
            return base.PutAsync(key, content, cancellationToken);
        }

        public override ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
        {
            Count();
            return base.StatAsync(key, cancellationToken);
        }

        public override ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
        {
            Count();
            return base.DeleteAsync(key, cancellationToken);
        }

        private void Count()
        {
            if (Interlocked.Increment(ref _calls) >= after)
            {
                killed.Cancel();
                throw new OperationCanceledException(killed.Token);
            }
        }
    }
}
