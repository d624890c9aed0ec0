using BackupIQ.Primitives;
using BackupIQ.Storage;

namespace BackupIQ.Jobs;

/// <summary>What happens where something that is needed lies in an archive of the storage.</summary>
/// <example>
/// <code>
/// RecallOptions recall = new() { Wait = true, Priority = "bulk", OnRecall = told => Console.WriteLine($"{told.Objects} packs lie in an archive") };
/// await repository.CheckAsync(new CheckRequest { ReadData = true, Recall = recall }, cancellationToken: cancellationToken);
/// </code>
/// </example>
public sealed record RecallOptions
{
    /// <summary>
    /// Have the storage bring back what is needed, and wait for it. With this the storage is asked also where the repository's URL says nothing of an archive, as when somebody else moved
    /// objects to one.
    /// </summary>
    public bool Wait { get; init; }

    /// <summary>How soon: <c>bulk</c>, <c>standard</c> or <c>expedited</c>; the sooner, the dearer.</summary>
    public string Priority { get; init; } = "standard";

    /// <summary>How many days what came back stays readable, where the storage makes a copy for a time. 7: what fails today is run again within the week.</summary>
    public int Days { get; init; } = 7;

    /// <summary>How often the storage is asked while it is waited for. Five minutes: little beside the hours that it takes, and a request for each pack.</summary>
    public TimeSpan Poll { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Hears what lies in an archive; and then each time that less does, until nothing does.</summary>
    public Action<RecallInfo>? OnRecall { get; init; }

    internal RecallOrder ToOrder(StorageArchive? archive)
    {
        if (!Enum.TryParse(Priority, ignoreCase: true, out RecallPriority priority) || !Enum.IsDefined(priority) || char.IsAsciiDigit(Priority[0]))
        {
            throw new BackupIQException(ErrorCodes.Usage, $"--archive-priority: '{Priority}' is no priority", "Use bulk, standard or expedited.");
        }

        return archive is null || archive.Takes.ContainsKey(priority)
            ? new RecallOrder(priority, Days)
            : throw new BackupIQException(
                ErrorCodes.Usage,
                $"--archive-priority: the archive {archive.Name} has no '{Priority}'",
                $"It has: {string.Join(", ", archive.Takes.Keys.Order().Select(static one => one.ToString().ToLowerInvariant()))}.");
    }
}

/// <summary>What is needed and cannot be read yet.</summary>
/// <param name="Objects">Packs that lie in an archive.</param>
/// <param name="Bytes">Their bytes.</param>
/// <param name="Requested">Those of them that were asked for now; the others had been before.</param>
/// <param name="Within">Within which time they are back as a rule; null: the storage does not say.</param>
public sealed record RecallInfo(int Objects, long Bytes, int Requested, TimeSpan? Within);
