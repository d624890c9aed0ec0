using System.Net;
using System.Text;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Secrets;

/// <summary>
/// Tokens for a program that signs in to Vault by its role's id and a secret id (AppRole): got when they are needed, used for two thirds of the time for
/// which they hold, and got anew where Vault does not know one any more.
/// </summary>
internal sealed class VaultAppRole : RenewedSecret
{
    /// <summary>The role's id, which is no secret by itself.</summary>
    public const string RoleVariable = "BACKUPIQ_VAULT_ROLE_ID";

    private const string SecretVariable = "BACKUPIQ_VAULT_SECRET_ID_FROM";
    private const string MountVariable = "BACKUPIQ_VAULT_APPROLE_MOUNT";
    private const string What = "Signing in to Vault failed";
    private const double UsedFor = 2.0 / 3;

    private readonly string _role;
    private readonly string _mount;
    private readonly CachedSecret _secretId;
    private TimeSpan _holds;

    private VaultAppRole(string role, string mount, CachedSecret secretId, TimeProvider time)
        : base(time)
    {
        _role = role;
        _mount = mount;
        _secretId = secretId;
    }

    /// <inheritdoc/>
    public override string Origin => $"the role of {RoleVariable}";

    /// <summary>Sends a request without a token to a path below <c>/v1/</c>; the client's.</summary>
    public required Func<string, Action<Utf8JsonWriter>, CancellationToken, Task<JsonAnswer>> Send { private get; init; }

    /// <summary>The role that the environment names; null: none.</summary>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>: its secret id is not named; <c>Usage</c>: that names a secret in Vault.</exception>
    public static VaultAppRole? Find(
        Func<string, string?> environment, TimeProvider time, Func<string, Action<Utf8JsonWriter>, CancellationToken, Task<JsonAnswer>> send)
    {
        if (environment(RoleVariable) is not { Length: > 0 } role)
        {
            return null;
        }

        if (environment(SecretVariable) is not { Length: > 0 } named)
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, $"{RoleVariable} names a role of Vault's, and nothing its secret id", $"Set {SecretVariable} to a reference such as file:/run/vault/secret-id.");
        }

        SecretReference reference = SecretReference.Parse(named);
        string mount = environment(MountVariable) is { Length: > 0 } given ? given.Trim('/') : "approle";
        return reference.Scheme == SecretReference.Vault
            ? throw new BackupIQException(ErrorCodes.Usage, $"{SecretVariable} names a secret in Vault, for which one has to be signed in first", "Keep it in a file or a systemd credential.")
            : new VaultAppRole(role, mount, new CachedSecret(reference, environment, time), time) { Send = send };
    }

    /// <inheritdoc/>
    protected override bool IsStale(TimeSpan age) => _holds > TimeSpan.Zero && age > _holds * UsedFor;

    /// <inheritdoc/>
    protected override async Task<Secret> ReadAsync(CancellationToken cancellationToken)
    {
        using Secret first = await _secretId.GetAsync(cancellationToken).ConfigureAwait(false);
        if (await TrySignInAsync(first, cancellationToken).ConfigureAwait(false) is { } token)
        {
            return token;
        }

        // Secret ids are rotated like other secrets.
        using Secret? renewed = await _secretId.RenewAsync(first, cancellationToken).ConfigureAwait(false);
        return (renewed is null ? null : await TrySignInAsync(renewed, cancellationToken).ConfigureAwait(false))
            ?? throw new BackupIQException(
                ErrorCodes.KeyServiceAuthentication, $"{What}: Vault does not accept the role's id and the secret id of {_secretId.Origin}", "Make a new secret id (vault write -f auth/approle/role/NAME/secret-id), and check the role's id.");
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _secretId.Dispose();
        }

        base.Dispose(disposing);
    }

    // Null: Vault knows neither. It says so with 400, or 403 from 1.19 on.
    private async Task<Secret?> TrySignInAsync(Secret secretId, CancellationToken cancellationToken)
    {
        using JsonAnswer answer = await Send(
            $"auth/{_mount}/login",
            writer =>
            {
                writer.WriteString("role_id", _role);
                writer.WriteString("secret_id", secretId.Bytes);
            },
            cancellationToken).ConfigureAwait(false);
        if (answer.Status is HttpStatusCode.BadRequest or HttpStatusCode.Forbidden)
        {
            return null;
        }

        if (!answer.IsSuccess || answer.Text("auth", "client_token") is not { Length: > 0 } token)
        {
            throw new BackupIQException(
                ErrorCodes.KeyService, answer.Status == HttpStatusCode.NotFound ? $"{What}: there is no AppRole at 'auth/{_mount}'" : $"{What}: the answer was {(int)answer.Status}", $"Check {MountVariable} and VAULT_ADDR.");
        }

        _holds = answer.Find("auth", "lease_duration") is { ValueKind: JsonValueKind.Number } seconds && seconds.TryGetInt32(out int holds) ? TimeSpan.FromSeconds(Math.Max(0, holds)) : TimeSpan.Zero;
        return new Secret(Encoding.UTF8.GetBytes(token));
    }
}
