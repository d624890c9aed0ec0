using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Format;

/// <summary>
/// The copies of the configuration that a storage holds. Each generation stands under two names; the highest of which one copy is whole
/// counts. What is damaged or missing among the copies of that generation, or of higher ones, is a finding.
/// </summary>
internal sealed class ConfigurationStore
{
    // Two generations are the rule; more are looked at so that damage in the newest does not end the search.
    private const int MaxGenerations = 8;

    private readonly List<(int Generation, ConfigurationObject Copy, StorageKey Name)> _whole;
    private readonly List<(int Generation, RepositoryFinding Finding)> _findings;

    private ConfigurationStore(
        List<(int Generation, ConfigurationObject Copy, StorageKey Name)> whole, List<(int Generation, RepositoryFinding Finding)> findings)
    {
        _whole = whole;
        _findings = findings;
    }

    /// <summary>Whether nothing of a configuration is there, not even damaged.</summary>
    public bool IsEmpty => _whole.Count == 0 && _findings.Count == 0;

    /// <summary>The repository that the best copy names in clear, not proven yet.</summary>
    public RepositoryId? Repository => _whole.Count > 0 ? _whole[0].Copy.Repository : null;

    /// <summary>Reads the clear parts.</summary>
    /// <exception cref="BackupIQException"><c>UnsupportedFormat</c>: the newest generation is for newer versions only.</exception>
    public static async Task<ConfigurationStore> LoadAsync(IStorageBackend storage, CancellationToken cancellationToken)
    {
        List<(int Generation, StorageKey Name)> listed = [];
        await foreach (StoredObject item in storage.ListAsync(RepositoryLayout.ConfigurationPrefix, cancellationToken))
        {
            if (RepositoryLayout.TryParseConfiguration(item.Key, out _, out int generation))
            {
                listed.Add((generation, item.Key));
            }
        }

        List<int> generations = [.. listed.Select(item => item.Generation).Distinct().OrderDescending().Take(MaxGenerations)];
        List<(int Generation, ConfigurationObject Copy, StorageKey Name)> whole = [];
        List<(int Generation, RepositoryFinding Finding)> findings = [];
        foreach (int generation in generations)
        {
            foreach (char copy in "ab")
            {
                StorageKey name = RepositoryLayout.Configuration(copy, generation);
                (byte[]? bytes, string problem) = await SmallObject.ReadAsync(storage, name, HeadedObject.MaxSize, cancellationToken);
                if (bytes is null)
                {
                    findings.Add((generation, new RepositoryFinding(name.Value, problem.Length > 0 ? problem : "it is missing; its other copy serves")));
                    continue;
                }

                try
                {
                    whole.Add((generation, ConfigurationObject.Parse(name, bytes), name));
                }
                catch (CorruptDataException e)
                {
                    findings.Add((generation, new RepositoryFinding(name.Value, DamageReading.Problem(name.Value, e))));
                }
            }
        }

        return new ConfigurationStore(whole, findings);
    }

    /// <summary>The configuration that counts, or null when no copy opens; adds what was met to <paramref name="findings"/>.</summary>
    public RepositoryConfiguration? Open(RepositoryKeys keys, List<RepositoryFinding> findings)
    {
        RepositoryConfiguration? best = null;
        int at = 0;
        foreach ((int generation, ConfigurationObject copy, StorageKey name) in _whole)
        {
            if (best is not null && generation < best.Generation)
            {
                break;
            }

            try
            {
                RepositoryConfiguration opened = copy.Open(keys);
                best ??= opened;
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                findings.Add(new RepositoryFinding(name.Value, DamageReading.Problem(name.Value, e)));
            }
        }

        foreach ((int generation, RepositoryFinding finding) in _findings)
        {
            if (best is null || generation >= best.Generation)
            {
                findings.Insert(at++, finding);
            }
        }

        return best;
    }

    /// <summary>
    /// Puts both copies of a new generation. The put of copy a decides: when another has that generation already, nothing was changed and
    /// the answer is false. On storage without conditional put two who do this at once may both believe that they won.
    /// </summary>
    public static async Task<bool> TryPutAsync(
        IStorageBackend storage, RepositoryKeys keys, RepositoryConfiguration configuration, CancellationToken cancellationToken)
    {
        foreach (char copy in "ab")
        {
            StorageKey name = RepositoryLayout.Configuration(copy, configuration.Generation);
            byte[] bytes = ConfigurationObject.Seal(keys, name, configuration);
            if (await storage.PutAsync(name, StorageContent.FromBytes(bytes), cancellationToken) != PutOutcome.Stored && copy == 'a')
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Puts back copies of <paramref name="configuration"/> that are missing or damaged.</summary>
    public static async Task RestoreCopiesAsync(
        IStorageBackend storage, RepositoryKeys keys, RepositoryConfiguration configuration, CancellationToken cancellationToken)
    {
        foreach (char copy in "ab")
        {
            StorageKey name = RepositoryLayout.Configuration(copy, configuration.Generation);
            (byte[]? bytes, _) = await SmallObject.ReadAsync(storage, name, HeadedObject.MaxSize, cancellationToken);
            if (bytes is not null && IsWhole(name, bytes, keys))
            {
                continue;
            }

            await storage.DeleteAsync(name, cancellationToken);
            await storage.PutAsync(name, StorageContent.FromBytes(ConfigurationObject.Seal(keys, name, configuration)), cancellationToken);
        }
    }

    private static bool IsWhole(StorageKey name, byte[] bytes, RepositoryKeys keys)
    {
        try
        {
            ConfigurationObject.Parse(name, bytes).Open(keys);
            return true;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return false;
        }
    }
}
