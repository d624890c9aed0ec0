using System.Net;
using System.Text;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Secrets;

/// <summary>A field of a secret in Vault's key-value engine, version 2 or 1. Vault itself says which part of the path is the engine's mount.</summary>
internal static class VaultKeyValue
{
    /// <summary>Reads it now. The caller disposes it.</summary>
    public static async Task<Secret> ReadAsync(SecretReference reference, Func<string, string?> environment, TimeProvider time, CancellationToken cancellationToken)
    {
        string what = $"The secret {reference} could not be read";
        string whole = reference.Place.Trim('/');
        using VaultClient vault = VaultClient.Open(null, null, null, null, isInsecureAllowed: false, environment, time);
        using JsonAnswer engine = await vault.SendAsync(HttpMethod.Get, "sys/internal/ui/mounts/" + whole, null, what, cancellationToken).ConfigureAwait(false);
        if (!engine.IsSuccess || engine.Text("data", "path")?.Trim('/') is not { Length: > 0 } mount || !whole.StartsWith(mount + "/", StringComparison.Ordinal))
        {
            throw NotThere(engine, what, vault.Host);
        }

        bool isVersioned = engine.Text("data", "options", "version") == "2";
        string path = isVersioned ? $"{mount}/data/{whole[(mount.Length + 1)..]}" : whole;
        using JsonAnswer answer = await vault.SendAsync(HttpMethod.Get, path, null, what, cancellationToken).ConfigureAwait(false);
        string[] fields = isVersioned ? ["data", "data"] : ["data"];
        if (!answer.IsSuccess || answer.Find(fields) is null)
        {
            throw NotThere(answer, what, vault.Host);
        }

        return answer.Find([.. fields, reference.Field!]) switch
        {
            { ValueKind: JsonValueKind.String } text when JsonAnswer.TextOf(text) is { } value => SecretSource.FirstLine(Encoding.UTF8.GetBytes(value), reference.ToString()),
            { ValueKind: JsonValueKind.Number } number => SecretSource.FirstLine(Encoding.UTF8.GetBytes(number.GetRawText()), reference.ToString()),
            null => throw new BackupIQException(ErrorCodes.SecretUnavailable, $"{what}: it has no field '{reference.Field}'", "'vault kv get' shows what fields it has.").With("vault", vault.Host),
            _ => throw new BackupIQException(ErrorCodes.SecretUnavailable, $"{what}: its field '{reference.Field}' is no text").With("vault", vault.Host),
        };
    }

    private static BackupIQException NotThere(JsonAnswer answer, string what, string host) => new BackupIQException(
        ErrorCodes.SecretUnavailable,
        answer.Status == HttpStatusCode.NotFound ? $"{what}: there is none at that path, or it was deleted" : $"{what}: Vault's answer was {(int)answer.Status}",
        "Check mount and path with 'vault kv get'.").With("vault", host);
}
