using System.Text;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Aws;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Secrets;

/// <summary>A secret of AWS Secrets Manager, or a field of one that is a JSON object.</summary>
internal static class AwsSecretsManager
{
    /// <summary>Reads its current version. The caller disposes it.</summary>
    public static async Task<Secret> ReadAsync(SecretReference reference, Func<string, string?> environment, TimeProvider time, CancellationToken cancellationToken)
    {
        string what = $"The secret {reference} could not be read";
        using AwsJsonService store = AwsJsonService.Open("secretsmanager", "secretsmanager", reference.Place, null, environment, time);
        using JsonAnswer answer = await store.CallAsync("GetSecretValue", writer => writer.WriteString("SecretId", reference.Place), what, cancellationToken).ConfigureAwait(false);
        return AwsJsonService.ErrorOf(answer) switch
        {
            "" when answer.Text("SecretString") is { } text => FieldOf(text, reference, what),
            "" when answer.Bytes("SecretBinary") is { } bytes && reference.Field is null => SecretSource.FirstLine(bytes, reference.ToString()),
            "" => throw new BackupIQException(ErrorCodes.SecretUnavailable, $"{what}: it holds no text", "Only a secret of text has fields."),
            "ResourceNotFoundException" => throw new BackupIQException(ErrorCodes.SecretUnavailable, $"{what}: there is no such secret, or none of its versions is current", "Check name, region and account."),
            "InvalidRequestException" => throw new BackupIQException(ErrorCodes.SecretUnavailable, $"{what}: it is marked for deletion", "Restore it in Secrets Manager."),
            "DecryptionFailure" => throw new BackupIQException(ErrorCodes.Authorization, $"{what}: the KMS key that encrypts it may not be used", "It needs kms:Decrypt on that key, which must be enabled."),
            { } error => throw new BackupIQException(ErrorCodes.KeyService, $"{what}: Amazon's answer was {(int)answer.Status} {error}"),
        };
    }

    private static Secret FieldOf(string text, SecretReference reference, string what)
    {
        if (reference.Field is not { } field)
        {
            return SecretSource.FirstLine(Encoding.UTF8.GetBytes(text), reference.ToString());
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(text);
            if (document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty(field, out JsonElement value) && value.ValueKind is JsonValueKind.String or JsonValueKind.Number)
            {
                return SecretSource.FirstLine(Encoding.UTF8.GetBytes(value.ValueKind == JsonValueKind.String ? value.GetString()! : value.GetRawText()), reference.ToString());
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The failure would quote what it holds.
            throw new BackupIQException(ErrorCodes.SecretUnavailable, $"{what}: it has no fields, for it is no JSON object", "Leave '#FIELD' out.");
        }

        throw new BackupIQException(ErrorCodes.SecretUnavailable, $"{what}: it has no field '{field}'", "See it in Secrets Manager.");
    }
}
