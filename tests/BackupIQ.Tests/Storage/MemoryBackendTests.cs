using BackupIQ.Storage;
using BackupIQ.Testing.Storage;

namespace BackupIQ.Tests.Storage;

public sealed class MemoryBackendTests : StorageConformance
{
    private readonly MemoryBackend _storage = new(TimeProvider.System);

    protected override ValueTask<IStorageBackend> ConnectAsync() => ValueTask.FromResult<IStorageBackend>(_storage);
}
