using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage;

/// <summary>Acceptance point B7, by raw calls: who may only add removes and changes nothing.</summary>
public sealed class AppendOnlyBackendTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Theory]
    [InlineData("memory")]
    [InlineData("local")]
    [InlineData("overwriting")]
    public async Task NoSequenceOfCallsRemovesOrChangesWhatIsStored(string kind)
    {
        IStorageBackend inner = Make(kind);
        await using AppendOnlyBackend storage = new(inner, ["f/", "g/"]);
        string[] names = [.. Enumerable.Range(0, 12).Select(static i => $"{"dsafg"[i % 5]}/{i}")];
        foreach (string name in names.Take(8))
        {
            await storage.PutAsync(new StorageKey(name), Bytes(name), CancellationToken.None);
        }

        storage.Close();
        Random random = new(3);
        Dictionary<string, string> before = await ContentsAsync(inner);
        before.Count.ShouldBe(8);
        int refused = 0, put = 0;
        for (int i = 0; i < 2000; i++)
        {
            StorageKey key = new(names[random.Next(names.Length)]);
            try
            {
                if (random.Next(3) == 0)
                {
                    await storage.DeleteAsync(key, CancellationToken.None);
                }
                else
                {
                    StorageContent content = random.Next(3) switch { 0 => Bytes(key.Value), 1 => Bytes("x" + random.Next(1000)), _ => FileWith("y" + random.Next(1000)) };
                    await storage.PutAsync(key, content, CancellationToken.None);
                    put++;
                }
            }
            catch (StorageException e)
            {
                e.Code.ShouldBe(ErrorCodes.AppendOnly);
                e.Code.ExitCode.ShouldBe(17);
                refused++;
            }

            Dictionary<string, string> now = await ContentsAsync(inner);
            before.Except(now).ShouldBeEmpty($"call {i} on {key}");
            before = now;
        }

        refused.ShouldBeGreaterThan(600);
        put.ShouldBeGreaterThan(600);

        // What is missing can be added, but not under the prefixes of a maintainer.
        before.Keys.ShouldBe(names.Take(8).Concat(names.Skip(8).Where(static name => name[0] is not ('f' or 'g'))), ignoreOrder: true);
        Directory.EnumerateFiles(_scratch.Path, "content-*", SearchOption.TopDirectoryOnly).ShouldBeEmpty("a file given as content is the storage's");
    }

    [Theory]
    [InlineData("memory")]
    [InlineData("local")]
    [InlineData("overwriting")]
    public async Task APutThatMeetsItselfIsDoneAndAnotherIsNot(string kind)
    {
        await using AppendOnlyBackend storage = new(Make(kind), []);
        storage.Close();
        StorageKey key = new("d/1");

        (await storage.PutAsync(key, Bytes("one"), CancellationToken.None)).ShouldBe(PutOutcome.Stored);
        (await storage.PutAsync(key, Bytes("one"), CancellationToken.None)).ShouldBe(PutOutcome.Stored);
        (await storage.PutAsync(key, FileWith("one"), CancellationToken.None)).ShouldBe(PutOutcome.Stored);
        (await storage.PutAsync(key, Bytes("two"), CancellationToken.None)).ShouldBe(PutOutcome.AlreadyThere);
        (await storage.PutAsync(key, Bytes("longer"), CancellationToken.None)).ShouldBe(PutOutcome.AlreadyThere);
    }

    [Fact]
    public async Task OpenItPassesEverythingOn()
    {
        await using AppendOnlyBackend storage = new(Make("memory"), ["f/"]);
        await storage.PutAsync(new StorageKey("f/1"), Bytes("x"), CancellationToken.None);
        await storage.DeleteAsync(new StorageKey("f/1"), CancellationToken.None);
        (await ContentsAsync(storage)).ShouldBeEmpty();
    }

    private static StorageContent Bytes(string text) => StorageContent.FromBytes(System.Text.Encoding.ASCII.GetBytes(text));

    private static async Task<Dictionary<string, string>> ContentsAsync(IStorageBackend storage)
    {
        Dictionary<string, string> contents = [];
        await foreach (StoredObject stored in storage.ListAsync("", CancellationToken.None))
        {
            byte[] bytes = new byte[stored.Size];
            await storage.ReadAsync(stored.Key, 0, bytes, CancellationToken.None);
            contents.Add(stored.Key.Value, Convert.ToHexString(SHA256.HashData(bytes)));
        }

        return contents;
    }

    private StorageContent FileWith(string text)
    {
        string path = Path.Combine(_scratch.Path, "content-" + Guid.NewGuid().ToString("N"));
        File.WriteAllText(path, text);
        return StorageContent.FromFile(path);
    }

    private IStorageBackend Make(string kind) => kind switch
    {
        "memory" => new MemoryBackend(TimeProvider.System),
        "local" => LocalBackend.Create(Path.Combine(_scratch.Path, "storage"), new LocalOptions(), TimeProvider.System),
        _ => new OverwritingStorage(),
    };

    /// <summary>A storage whose puts replace what is there, as some do.</summary>
    private sealed class OverwritingStorage : IStorageBackend
    {
        private readonly Dictionary<string, byte[]> _objects = [];

        public StorageCapabilities Capabilities { get; } = new() { ConditionalPut = false };

        public string Location => "overwriting:";

        public string? SpoolFolder => null;

        public async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
        {
            _objects[key.Value] = content.File is { } file ? await File.ReadAllBytesAsync(file, cancellationToken) : content.Bytes.ToArray();
            content.Discard();

            return PutOutcome.Stored;
        }

        public ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
        {
            ReadOnlySpan<byte> rest = _objects[key.Value].AsSpan((int)offset);
            int length = Math.Min(rest.Length, destination.Length);
            rest[..length].CopyTo(destination.Span);
            return ValueTask.FromResult(length);
        }

        public ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken) => ValueTask.FromResult<StoredObject?>(
            _objects.TryGetValue(key.Value, out byte[]? bytes) ? new StoredObject(key, bytes.Length, default) : null);

        public async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
        {
            foreach ((string name, byte[] bytes) in _objects.Where(one => one.Key.StartsWith(prefix, StringComparison.Ordinal)).ToList())
            {
                yield return new StoredObject(new StorageKey(name), bytes.Length, default);
            }

            await Task.CompletedTask;
        }

        public ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
        {
            _objects.Remove(key.Value);
            return ValueTask.CompletedTask;
        }

        public ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) => ValueTask.FromResult(new StorageSpace(null, null, null));

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
