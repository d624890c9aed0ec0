using BackupIQ.Primitives;
using BackupIQ.Repository.Parity;
using BackupIQ.Storage;

namespace BackupIQ.Jobs;

/// <content>Parity: what mends damaged objects.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>What parity there is.</summary>
    public async Task<ParityInfo> GetParityAsync(CancellationToken cancellationToken = default) =>
        ParityInfo.From(await ParityPipeline.StatusAsync(_repository, cancellationToken).ConfigureAwait(false));

    /// <summary>Reads all parity and names the parity objects that are damaged.</summary>
    public async Task<IReadOnlyList<string>> FindDamagedParityAsync(ParityMonitor? monitor = null, CancellationToken cancellationToken = default) =>
        [.. (await Pipeline(monitor).FindDamagedAsync(cancellationToken).ConfigureAwait(false)).Select(static key => key.Value).Order(StringComparer.Ordinal)];

    /// <summary>
    /// What is to be done so that every object has <paramref name="percent"/> of parity, no more and no less; small objects other than packs
    /// are covered whole. Parity objects that <see cref="FindDamagedParityAsync"/> named are made again. Nothing is changed yet.
    /// </summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is not from 1 to 100.</exception>
    public async Task<ParityChange> PlanParityAsync(int percent, IEnumerable<string>? damaged = null, CancellationToken cancellationToken = default) =>
        percent is >= 1 and <= 100
            ? new ParityChange(await ParityPipeline.PlanAsync(
                _repository, percent, damaged?.Select(static name => new StorageKey(name)).ToHashSet(), cancellationToken).ConfigureAwait(false))
            : throw new BackupIQException(ErrorCodes.Usage, $"{percent} % of parity cannot be made", "Give 1 to 100; 5 is usual.");

    /// <summary>What is to be done so that there is no parity. Nothing is changed yet.</summary>
    public async Task<ParityChange> PlanParityRemovalAsync(CancellationToken cancellationToken = default) =>
        new(await ParityPipeline.PlanRemovalAsync(_repository, cancellationToken).ConfigureAwait(false));

    /// <summary>Does what was planned. What is interrupted stays as far as it came; planned again it goes on.</summary>
    /// <exception cref="BackupIQException">The storage cannot be reached, refuses, or is full.</exception>
    public async Task<ParityChangeOutcome> ChangeParityAsync(ParityChange change, ParityMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        ParityOutcome outcome = await Pipeline(monitor).RunAsync(change.Plan, cancellationToken).ConfigureAwait(false);
        Tell(outcome.Damaged.Select(static finding => finding.ToString()));
        return new ParityChangeOutcome(outcome.Covered, outcome.BytesWritten, outcome.Removed, [.. outcome.Damaged.Select(static finding => finding.ToString())]);
    }

    private ParityPipeline Pipeline(ParityMonitor? monitor) =>
        new(_repository, (monitor ?? new ParityMonitor()).Progress, _options.Jobs > 0 ? _options.Jobs : Environment.ProcessorCount);
}
