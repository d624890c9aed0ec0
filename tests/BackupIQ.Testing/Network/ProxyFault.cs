namespace BackupIQ.Testing.Network;

/// <summary>What goes wrong between a client and a server.</summary>
public enum ProxyFaultKind
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>The connection is reset when so many bytes of the request have come; the server sees nothing of it.</summary>
    ResetRequest,

    /// <summary>The server does what was asked, and the connection is reset after so many bytes of its answer.</summary>
    ResetAnswer,

    /// <summary>The proxy answers 500 itself; the server sees nothing.</summary>
    Answer500,

    /// <summary>The proxy answers 503 itself, with a Retry-After of so many seconds.</summary>
    Answer503,

    /// <summary>The answer's body comes at so many bytes a second.</summary>
    Slow,

    /// <summary>The answer's body ends after so many bytes, and the connection with it, in an orderly way.</summary>
    TruncateAnswer,

    /// <summary>The answer's Content-Length is so many bytes larger (or smaller, when negative) than its body, which is cut to it.</summary>
    WrongLength,

    /// <summary>One bit of the answer's body is wrong, so many bytes into it.</summary>
    CorruptAnswer,

    /// <summary>One bit of the request's body is wrong, so many bytes into it.</summary>
    CorruptRequest,

    /// <summary>The server does what was asked, and its answer never comes.</summary>
    Hang,

    /// <summary>Nobody reads what the client sends, and nobody answers; the connection stays.</summary>
    HalfOpen,
}

/// <summary>A request as the proxy sees it.</summary>
/// <param name="Number">From 0, in the order in which requests came.</param>
/// <param name="Method">As <c>GET</c>.</param>
/// <param name="Target">Path and query.</param>
public sealed record ProxyRequest(int Number, string Method, string Target);

/// <summary>What is to go wrong with one request.</summary>
/// <param name="Kind">What.</param>
/// <param name="Amount">Bytes, bytes a second, or seconds: as the kind says.</param>
public sealed record ProxyFault(ProxyFaultKind Kind, long Amount = 0)
{
    /// <summary>All goes well.</summary>
    public static ProxyFault None { get; } = new(ProxyFaultKind.None);

    /// <summary>
    /// Faults that follow from a seed: a share of the requests goes wrong, in every way of <paramref name="kinds"/> (empty: in all ways).
    /// </summary>
    public static Func<ProxyRequest, ProxyFault> Random(int seed, double share, params ProxyFaultKind[] kinds) => Random(seed, share, 600, kinds);

    /// <summary>The same; half of the faults that are at a byte are within the first <paramref name="early"/>.</summary>
    public static Func<ProxyRequest, ProxyFault> Random(int seed, double share, int early, params ProxyFaultKind[] kinds)
    {
        ProxyFaultKind[] possible = kinds.Length > 0 ? kinds : [.. Enum.GetValues<ProxyFaultKind>().Where(static k => k != ProxyFaultKind.None)];
        Random random = new(seed);
        Lock gate = new();
        return _ =>
        {
            lock (gate)
            {
                if (random.NextDouble() >= share)
                {
                    return None;
                }

                ProxyFaultKind kind = possible[random.Next(possible.Length)];
                return new ProxyFault(kind, kind switch
                {
                    ProxyFaultKind.Answer503 => random.Next(0, 2),
                    ProxyFaultKind.Slow => random.Next(20_000, 2_000_000),
                    ProxyFaultKind.WrongLength => random.Next(2) == 0 ? random.Next(1, 1000) : -random.Next(1, 1000),

                    // Half of them early: in the head, or in a small body.
                    _ => random.Next(2) == 0 ? random.Next(0, early) : random.Next(0, 100_000),
                });
            }
        };
    }
}
