using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Keys;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Format;

/// <summary>
/// One copy of a generation of the configuration: a <see cref="HeadedObject"/> whose body is a <see cref="SealedObject"/> of kind
/// Configuration, sealed under the object's name with the head as further associated data.
/// </summary>
internal sealed class ConfigurationObject
{
    private readonly StorageKey _name;
    private readonly byte[] _head;
    private readonly byte[] _body;

    private ConfigurationObject(StorageKey name, RepositoryId repository, ConfigurationHead fields, byte[] head, byte[] body)
    {
        _name = name;
        Repository = repository;
        Head = fields;
        _head = head;
        _body = body;
    }

    /// <summary>The repository that the clear part names; proven by <see cref="Open"/>.</summary>
    public RepositoryId Repository { get; }

    /// <summary>The clear part; proven by <see cref="Open"/>.</summary>
    public ConfigurationHead Head { get; }

    /// <summary>Writes one copy.</summary>
    public static byte[] Seal(RepositoryKeys keys, StorageKey name, RepositoryConfiguration configuration) =>
        Seal(keys, name, configuration, SaltRow.New(keys));

    /// <summary>The same under a given, fresh salt row.</summary>
    internal static byte[] Seal(RepositoryKeys keys, StorageKey name, RepositoryConfiguration configuration, in SaltRow row)
    {
        byte[] head = JsonSerializer.SerializeToUtf8Bytes(configuration.Head, KeyJson.Default.ConfigurationHead);
        byte[] settings = JsonSerializer.SerializeToUtf8Bytes(configuration.Settings, KeyJson.Default.ConfigurationSettings);
        return HeadedObject.Compose(head, SealedObject.Seal(keys, ObjectKind.Configuration, name, settings, head, row));
    }

    /// <summary>Reads the clear part.</summary>
    /// <exception cref="CorruptDataException">The bytes are damaged, or another object's.</exception>
    /// <exception cref="BackupIQException"><c>UnsupportedFormat</c>: only a newer version may read this repository.</exception>
    public static ConfigurationObject Parse(StorageKey name, ReadOnlySpan<byte> bytes)
    {
        if (!HeadedObject.TryParse(bytes, out byte[] head, out byte[] body, out string problem))
        {
            throw new CorruptDataException($"{name}: {problem}.");
        }

        ConfigurationHead fields = Parse(name.Value, head, KeyJson.Default.ConfigurationHead);
        RepositoryConfiguration.Require(fields, RepositoryOperation.Read);
        if (!RepositoryLayout.TryParseConfiguration(name, out _, out int generation) || fields.Generation != generation)
        {
            throw new CorruptDataException($"{name}: it says that it is generation {fields.Generation}.");
        }

        if (!RepositoryId.TryParse(fields.Repository, out RepositoryId repository))
        {
            throw new CorruptDataException($"{name}: it names no repository.");
        }

        return fields.Kdf.Problem() is { } refused
            ? throw new CorruptDataException($"{name}: {refused}.")
            : new ConfigurationObject(name, repository, fields, head, body);
    }

    /// <summary>Opens the sealed part, and with it proves the clear one.</summary>
    /// <exception cref="CorruptDataException">The bytes are damaged, or of another repository.</exception>
    public RepositoryConfiguration Open(RepositoryKeys keys)
    {
        if (Repository != keys.Repository)
        {
            throw new CorruptDataException($"{_name}: it belongs to repository {Repository}, the keys to {keys.Repository}.");
        }

        byte[] json = SealedObject.Open(keys, ObjectKind.Configuration, _name, _body, _head);
        ConfigurationSettings settings = Parse(_name.Value, json, KeyJson.Default.ConfigurationSettings);
        return IsValid(settings)
            ? new RepositoryConfiguration(Repository, Head, settings)
            : throw new CorruptDataException($"{_name}: its settings are out of range.");
    }

    internal static bool IsValid(ConfigurationSettings settings) =>
        settings.Chunker.IsValid && settings.PackSize is >= 1 << 20 and <= 1 << 30 && settings.Label.Length <= CreateOptions.MaxLabelLength;

    private static T Parse<T>(string name, byte[] json, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
        where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(json, type) ?? throw new CorruptDataException($"{name}: it is empty.");
        }
        catch (JsonException e)
        {
            throw new CorruptDataException($"{name}: its fields are not those of a configuration.", e);
        }
    }
}
