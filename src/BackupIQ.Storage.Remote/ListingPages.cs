using System.Runtime.CompilerServices;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote;

/// <summary>One page of a listing.</summary>
/// <param name="Objects">What is under the prefix and has a name that a key can have.</param>
/// <param name="Next">Where the next page begins; null: this was the last.</param>
internal sealed record ListingPage(IReadOnlyList<StoredObject> Objects, string? Next);

/// <summary>A listing that a server gives page by page.</summary>
internal static class ListingPages
{
    /// <summary>The objects of all pages. A server that names the page again that it has just given would never end.</summary>
    /// <param name="read">Reads the page that begins there; null: the first.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static async IAsyncEnumerable<StoredObject> ReadAllAsync(
        Func<string?, CancellationToken, Task<ListingPage>> read, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string? at = null;
        do
        {
            ListingPage page = await read(at, cancellationToken).ConfigureAwait(false);
            foreach (StoredObject stored in page.Objects)
            {
                yield return stored;
            }

            if (page.Next is { } next && next == at)
            {
                throw new StorageException(ErrorCodes.Storage, "The storage's listing goes round in a circle");
            }

            at = page.Next;
        }
        while (at is not null);
    }
}
