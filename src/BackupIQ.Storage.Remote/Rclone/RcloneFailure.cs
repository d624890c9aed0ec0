using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Rclone;

/// <summary>What rclone's words mean. It has no codes: what is known here was seen, or stands in the sources of its backends; what is not is a failure that no retry mends.</summary>
internal static class RcloneFailure
{
    private static readonly (string[] Words, ErrorCode Code, string Reason, string? Guidance)[] Meanings =
    [
        (["didn't find section in config file", "failed to find remote"], ErrorCodes.Configuration, "rclone's configuration has no such remote", "See 'rclone listremotes', or set it up: rclone config."),
        (["unable to decrypt configuration", "not allowed to ask for password", "couldn't decrypt configuration"], ErrorCodes.SecretUnavailable, "rclone's configuration is encrypted, and its password is not known", "Set RCLONE_CONFIG_PASS or RCLONE_PASSWORD_COMMAND."),
        (["knownhosts:", "host key mismatch", "ssh: host key"], ErrorCodes.Storage, "the server's host key is not the one that is known", "Compare the host's key, then enter it into the file of known hosts: ssh-keyscan -p PORT HOST."),
        (["x509:", "certificate signed by unknown", "certificate is not trusted", "tls: failed to verify"], ErrorCodes.Storage, "the server's certificate is not trusted", "For an authority of your own set RCLONE_CA_CERT."),
        (["2fa", "trust token", "missing icloud trust", "hsa2"], ErrorCodes.StorageAuthentication, "Apple asks for a two-factor code again: the trust that it gave has ended", "Renew it: rclone config reconnect REMOTE:"),
        (["unable to authenticate", "no supported methods remain", "invalid_grant", "invalid_client", "unauthorized", "401", "403 forbidden", "status code 403", "accessdenied", "access denied", "permission denied", "couldn't fetch token", "token expired", "expired_access_token", "empty token", "invalid credentials", "login failed", "wrong password", "530 login", "signaturedoesnotmatch", "invalidaccesskeyid"],
            ErrorCodes.StorageAuthentication, "the storage does not know the credentials, or does not allow it", null),
        (["no space left", "quotaexceeded", "storage quota", "insufficientspace", "insufficient storage", "insufficient_space", "disk full", "over quota", "not enough free space", "entitytoolarge"], ErrorCodes.StorageFull, "the storage is full", null),
        (["rate limit", "ratelimit", "too many requests", "429", "slowdown", "too_many"], ErrorCodes.StorageConnection, "the storage asks for a pause", null),
        (["i/o timeout", "deadline exceeded", "timed out", "timeout"], ErrorCodes.StorageTimeout, "the storage did not answer in time", null),
        (["connection refused", "no such host", "connection reset", "network is unreachable", "no route to host", "broken pipe", "dial tcp", "couldn't connect", "connection lost", "connection closed", "unexpected eof", "eof", "server misbehaving", "500 ", "502", "503", "504", "use of closed"], ErrorCodes.StorageConnection, "the storage cannot be reached", null),

        // What SSH says of a byte that was changed on its way, and SFTP of an answer that is none.
        (["handshake failed", "ssh: disconnect", "mac failure", "packet", "message type", "unmarshal error", "unexpected id"], ErrorCodes.StorageConnection, "the connection failed", "Check what lies between here and the server."),
    ];

    /// <summary>The failure that rclone's words tell of.</summary>
    /// <param name="words">What it said, from its answer or its log.</param>
    /// <param name="what">What failed, as the beginning of a sentence.</param>
    public static StorageException Of(string words, string what)
    {
        foreach ((string[] known, ErrorCode code, string reason, string? guidance) in Meanings)
        {
            if (known.Any(word => Says(words, word)))
            {
                return Make(code, $"{what}: {reason}", guidance, words);
            }
        }

        return Make(ErrorCodes.Storage, $"{what}: rclone failed", null, words);
    }

    // A status stands by itself: the same digits within a name, which rclone quotes, mean nothing.
    private static bool Says(string words, string word)
    {
        bool isNumber = char.IsAsciiDigit(word[0]);
        for (int at = 0; (at = words.IndexOf(word, at, StringComparison.OrdinalIgnoreCase)) >= 0; at++)
        {
            int behind = at + word.Length;
            if (!isNumber || ((at == 0 || !IsOfName(words[at - 1])) && (behind == words.Length || !IsOfName(words[behind]) || word[^1] == ' ')))
            {
                return true;
            }
        }

        return false;
    }

    private static bool IsOfName(char c) => char.IsAsciiLetterOrDigit(c) || c is '/' or '-' or '_';

    private static StorageException Make(ErrorCode code, string message, string? guidance, string words)
    {
        StorageException failure = new(code, message, guidance);
        failure.With("rclone", RcloneLog.Clean(words));
        return failure;
    }
}
