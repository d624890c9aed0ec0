using BackupIQ.Primitives;
using BackupIQ.Storage;
using Shouldly;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>An upload to one of Google's storages that breaks and is taken up.</summary>
internal static class ResumedUpload
{
    /// <summary>Puts 20 MiB, of which the line breaks after 12, and puts it again: what had arrived is not sent again.</summary>
    public static async Task ShouldGoOnAsync(IStorageBackend storage, string key, byte[] bytes, Func<int> openUploads, CancellationToken cancellationToken)
    {
        long moved = 0;
        StorageException broke = await Should.ThrowAsync<StorageException>(async () => await storage.PutAsync(
            new StorageKey(key),
            StorageContent.FromBytes(bytes).Watched((count, _) => (moved += count) > 12 << 20 ? throw new StorageException(ErrorCodes.StorageConnection, "The line broke") : ValueTask.CompletedTask),
            cancellationToken));
        broke.Message.ShouldBe("The line broke");
        openUploads().ShouldBe(1);
        moved = 0;
        (await storage.PutAsync(
            new StorageKey(key),
            StorageContent.FromBytes(bytes).Watched((count, _) =>
            {
                moved += count;
                return ValueTask.CompletedTask;
            }),
            cancellationToken)).ShouldBe(PutOutcome.Stored);
        moved.ShouldBeInRange(8 << 20, 14 << 20, "what had arrived is not sent again");
        openUploads().ShouldBe(0);
    }
}
