using BackupIQ.Jobs.Composition;
using BackupIQ.Primitives;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Keys;
using BackupIQ.Repository.Keys.Services;

namespace BackupIQ.Jobs;

/// <content>Keys.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>The ways into the repository, oldest first. Those that are damaged are told.</summary>
    public async Task<IReadOnlyList<KeyInfo>> ListKeysAsync(CancellationToken cancellationToken = default)
    {
        KeySlotListing listing = await _repository.Slots.ListAsync(cancellationToken).ConfigureAwait(false);
        Tell(listing.Findings.Select(static finding => finding.ToString()));
        return [.. listing.Slots.Select(Show)];
    }

    /// <summary>Adds a password, a key file or a key of a key service as another way in.</summary>
    public async Task<KeyInfo> AddKeyAsync(RepositorySecrets secret, string label, CancellationToken cancellationToken = default)
    {
        await using IKeyProvider? provider = await KeyProviderLocator.OpenAsync(secret, _time, cancellationToken).ConfigureAwait(false);
        return Show(secret switch
        {
            { Password: { } password } => await _repository.Slots.AddPasswordAsync(password, label, cancellationToken).ConfigureAwait(false),
            { KeyFile: { } keyFile } => await _repository.Slots.AddKeyFileAsync(keyFile, label, cancellationToken).ConfigureAwait(false),
            _ when provider is not null => await _repository.Slots.AddServiceAsync(provider, label, cancellationToken).ConfigureAwait(false),
            _ => throw new BackupIQException(ErrorCodes.Usage, "A password, a key file or a key service must be given to add"),
        });
    }

    /// <summary>Adds a recovery kit and returns its text, which holds a secret: store it 0600.</summary>
    /// <param name="label">What to call it.</param>
    /// <param name="asPage">As a page for a browser to print (HTML), not as plain text.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public Task<string> AddRecoveryKitAsync(string label, bool asPage = false, CancellationToken cancellationToken = default) =>
        _repository.Slots.AddRecoveryKitAsync(label, asPage, cancellationToken);

    /// <summary>Puts a new password in the place of a password slot.</summary>
    public async Task<KeyInfo> ChangePasswordAsync(string keyId, Secret newPassword, CancellationToken cancellationToken = default) =>
        Show(await _repository.Slots.ChangePasswordAsync(keyId, newPassword, cancellationToken).ConfigureAwait(false));

    /// <summary>Removes a way in by its full id; the last one stays.</summary>
    public Task RemoveKeyAsync(string keyId, CancellationToken cancellationToken = default) => _repository.Slots.RemoveAsync(keyId, cancellationToken);

    /// <summary>The key epochs, oldest first, with what is stored under each.</summary>
    public async Task<IReadOnlyList<KeyEpoch>> ListKeyEpochsAsync(CancellationToken cancellationToken = default)
    {
        IReadOnlyList<KeyEpochInfo> epochs = await _repository.Slots.ListEpochsAsync(cancellationToken).ConfigureAwait(false);
        IndexLoad load = await IndexLoader.LoadAsync(_repository, _options.CacheFolder, cancellationToken).ConfigureAwait(false);
        using ChunkIndex index = load.Index;
        Tell(load.Findings);
        Dictionary<ushort, long> stored = index.SharesByEpoch().ToDictionary(static share => share.Epoch, static share => share.StoredBytes);
        return [.. epochs.Select(epoch => new KeyEpoch(epoch.Epoch, epoch.Begun, stored.GetValueOrDefault(epoch.Epoch)))];
    }

    /// <summary>When the newest key epoch began; null: not known any more.</summary>
    public async Task<DateTimeOffset?> ReadKeyEpochAgeAsync(CancellationToken cancellationToken = default) =>
        (await _repository.Slots.ListEpochsAsync(cancellationToken).ConfigureAwait(false))[^1].Begun;

    /// <summary>What a new key epoch would do.</summary>
    public async Task<KeyEpochPlan> PlanKeyEpochAsync(CancellationToken cancellationToken = default)
    {
        EpochPlan plan = await _repository.Slots.PlanEpochAsync(cancellationToken).ConfigureAwait(false);
        return new KeyEpochPlan(plan.Epoch, [.. plan.Follow.Select(Show)], [.. plan.CannotFollow.Select(Show)]);
    }

    /// <summary>
    /// Begins the next key epoch: what is written by whoever opens the repository from now on is sealed under a new master key, which all keys open but
    /// those of <paramref name="leaveOut"/> (full ids); these are removed. What was written before stays as it is and readable. Open the repository
    /// again afterwards: this object goes on with the old epoch. Recovery kits on paper open what is newer only while keys/ is there: print new ones.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>Validation</c>: a key that stays cannot follow, or the one in use is to go. <c>RepositoryBusy</c>: somebody else began one meanwhile.
    /// </exception>
    public async Task<KeyEpochOutcome> BeginKeyEpochAsync(IReadOnlyCollection<string> leaveOut, CancellationToken cancellationToken = default)
    {
        EpochOutcome outcome = await _repository.BeginEpochAsync(leaveOut, _time, cancellationToken).ConfigureAwait(false);
        return new KeyEpochOutcome(outcome.Epoch, [.. outcome.LeftBehind.Select(Show)]);
    }

    /// <summary>What the key service says of the key that <paramref name="secrets"/> name; null where they name none.</summary>
    public async Task<ServiceKeyInfo?> ReadServiceKeyAsync(RepositorySecrets secrets, CancellationToken cancellationToken = default)
    {
        await using IKeyProvider? provider = await KeyProviderLocator.OpenAsync(secrets, _time, cancellationToken).ConfigureAwait(false);
        if (provider is null)
        {
            return null;
        }

        try
        {
            KeyState state = await provider.DescribeAsync(cancellationToken).ConfigureAwait(false);
            return new ServiceKeyInfo(provider.Service, provider.Key, state.IsEnabled, state.Rotated);
        }
        catch (BackupIQException e) when (e.Code == ErrorCodes.Authorization)
        {
            // Who may use a key need not be allowed to look at it.
            return new ServiceKeyInfo(provider.Service, provider.Key, IsEnabled: true, Rotated: null);
        }
    }

    private static KeyInfo Show(KeySlotInfo slot) =>
        new(slot.Id, slot.Type, slot.Label, slot.Created, slot.IsCurrent) { Epoch = slot.Epoch, CanFollow = slot.CanFollow, Service = slot.ServiceKey?.Service, ServiceKey = slot.ServiceKey?.Key };
}
