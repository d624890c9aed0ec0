using System.Globalization;
using System.Text;
using BackupIQ.Primitives;
using Npgsql;

namespace BackupIQ.Sources.Postgres;

/// <summary>How a server is reached, as libpq writes it: <c>host=/run/postgresql user=backup</c> or <c>postgres://backup@host:5432/postgres?sslmode=require</c>.</summary>
public sealed class PostgresDsn
{
    private readonly Dictionary<string, string> _fields;

    private PostgresDsn(Dictionary<string, string> fields) => _fields = fields;

    /// <summary>The role that connects.</summary>
    public string User => _fields.GetValueOrDefault("user") ?? Environment.UserName;

    /// <summary>The database that is connected to.</summary>
    public string Database => _fields.GetValueOrDefault("dbname") ?? "postgres";

    /// <summary>Host and port, for messages.</summary>
    public string Place => string.Join(", ", Split(Host).Select((host, i) => $"{host}:{PortOf(i)}"));

    /// <summary>The same for each host alone, where it names several servers of one cluster: <c>host=a,b</c>, with one port for all or one for each.</summary>
    public IReadOnlyList<PostgresDsn> Each => Split(Host) is { Length: > 1 } hosts
        ? [.. hosts.Select((host, i) => new PostgresDsn(new Dictionary<string, string>(_fields, StringComparer.Ordinal) { ["host"] = host, ["port"] = PortOf(i) }))]
        : [this];

    /// <summary>The socket of a server on this machine; null: it is reached by <see cref="Address"/> and <see cref="Port"/>.</summary>
    internal string? SocketPath => Split(Host)[0] is ['/', ..] folder && _fields.GetValueOrDefault("hostaddr") is null ? $"{folder}/.s.PGSQL.{PortOf(0)}" : null;

    internal string Address => _fields.GetValueOrDefault("hostaddr") ?? Split(Host)[0];

    internal int Port => int.Parse(PortOf(0), CultureInfo.InvariantCulture);

    private string Host => _fields.GetValueOrDefault("host") ?? "/var/run/postgresql";

    /// <summary>Takes it apart.</summary>
    /// <exception cref="BackupIQException"><c>Configuration</c>: it is none, or has a key that is not known. A password in it is never shown.</exception>
    public static PostgresDsn Parse(string text)
    {
        Dictionary<string, string> fields = text.StartsWith("postgres://", StringComparison.Ordinal) || text.StartsWith("postgresql://", StringComparison.Ordinal)
            ? ParseUrl(text)
            : ParseWords(text);
        foreach (string key in fields.Keys)
        {
            if (key is not ("host" or "hostaddr" or "port" or "dbname" or "user" or "sslmode" or "sslrootcert" or "sslcert" or "sslkey" or "connect_timeout" or "application_name" or "options" or "passfile"))
            {
                throw Wrong($"it has a key that is not known: {(key == "password" ? "password; use password-from" : key)}");
            }
        }

        string[] ports = Split(fields.GetValueOrDefault("port") ?? "5432");
        int hosts = Split(fields.GetValueOrDefault("host") ?? "").Length;
        return !ports.All(static text => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int port) && port is > 0 and < 65536) ? throw Wrong("its port is none")
            : ports.Length != 1 && ports.Length != hosts ? throw Wrong("it has not as many ports as hosts")
            : hosts > 1 && Split(fields["host"]).Contains("") ? throw Wrong("one of its hosts has no name")
            : hosts > 1 && fields.ContainsKey("hostaddr") ? throw Wrong("it has several hosts and a hostaddr")
            : new PostgresDsn(fields);
    }

    /// <summary>The same server, another of its databases.</summary>
    public PostgresDsn Of(string database) => new(new Dictionary<string, string>(_fields, StringComparer.Ordinal) { ["dbname"] = database });

    /// <summary>
    /// For PostgreSQL's own programs, which read it from their environment: nothing of it stands on a command line. Null: the variable must not be there, lest it say something else.
    /// </summary>
    internal IReadOnlyDictionary<string, string?> ToEnvironment(string? password)
    {
        Dictionary<string, string?> variables = new(StringComparer.Ordinal)
        {
            ["PGHOST"] = Host,
            ["PGHOSTADDR"] = _fields.GetValueOrDefault("hostaddr"),
            ["PGPORT"] = _fields.GetValueOrDefault("port") ?? "5432",
            ["PGUSER"] = User,
            ["PGDATABASE"] = Database,
            ["PGOPTIONS"] = _fields.GetValueOrDefault("options"),
            ["PGAPPNAME"] = _fields.GetValueOrDefault("application_name") ?? "backupiq",
            ["PGSERVICE"] = null,
            ["PGCLIENTENCODING"] = null,
        };
        foreach ((string key, string variable) in ((string, string)[])[("sslmode", "PGSSLMODE"), ("sslrootcert", "PGSSLROOTCERT"), ("sslcert", "PGSSLCERT"), ("sslkey", "PGSSLKEY"), ("connect_timeout", "PGCONNECT_TIMEOUT"), ("passfile", "PGPASSFILE")])
        {
            if (_fields.TryGetValue(key, out string? value))
            {
                variables[variable] = value;
            }
        }

        if (password is not null)
        {
            variables["PGPASSWORD"] = password;
        }

        return variables;
    }

    /// <summary>For the client library. One connection and no pool: it is the session that counts.</summary>
    internal string ToConnectionString(string? password, string? database = null)
    {
        // Of several hosts the first: who wants another asks for Each.
        NpgsqlConnectionStringBuilder builder = new()
        {
            Host = _fields.GetValueOrDefault("hostaddr") ?? Split(Host)[0],
            Port = int.Parse(PortOf(0), CultureInfo.InvariantCulture),
            Database = database ?? Database,
            Username = User,
            Pooling = false,
            KeepAlive = 0,
            TcpKeepAlive = true,
            CommandTimeout = 0,
            Timeout = int.TryParse(_fields.GetValueOrDefault("connect_timeout"), NumberStyles.None, CultureInfo.InvariantCulture, out int wait) ? wait : 15,
            ApplicationName = _fields.GetValueOrDefault("application_name") ?? "backupiq",
        };
        if (password is not null)
        {
            builder.Password = password;
        }

        Set("passfile", value => builder.Passfile = value);
        Set("options", value => builder.Options = value);
        Set("sslrootcert", value => builder.RootCertificate = value);
        Set("sslcert", value => builder.SslCertificate = value);
        Set("sslkey", value => builder.SslKey = value);
        Set("sslmode", value => builder.SslMode = Enum.TryParse(value.Replace("-", "", StringComparison.Ordinal), ignoreCase: true, out SslMode mode) ? mode : throw Wrong("its sslmode is none"));
        return builder.ConnectionString;

        void Set(string key, Action<string> apply)
        {
            if (_fields.TryGetValue(key, out string? value))
            {
                apply(value);
            }
        }
    }

    /// <summary><c>key='value'</c>, as libpq reads it again whatever the value.</summary>
    internal static string Word(string key, string value) =>
        $"{key}='{value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("'", "\\'", StringComparison.Ordinal)}'";

    private static string[] Split(string list) => list.Split(',', StringSplitOptions.TrimEntries);

    private string PortOf(int host) => Split(_fields.GetValueOrDefault("port") ?? "5432") is { Length: > 1 } ports ? ports[host] : _fields.GetValueOrDefault("port") ?? "5432";

    /// <summary>What stands under a key; null: nothing.</summary>
    internal string? Field(string key) => _fields.GetValueOrDefault(key);

    /// <summary>The password that libpq would take: <c>PGPASSWORD</c>, or the first line of the password file that fits; null: there is none.</summary>
    /// <param name="database">The database, for the password file.</param>
    internal string? StoredPassword(string database)
    {
        if (Environment.GetEnvironmentVariable("PGPASSWORD") is { Length: > 0 } given)
        {
            return given;
        }

        string file = Field("passfile") ?? Environment.GetEnvironmentVariable("PGPASSFILE") ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".pgpass");

        // As libpq does: a file that others can read is no place for a password.
        if (!File.Exists(file) || (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(file) & (UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite)) != 0))
        {
            return null;
        }

        string[] wanted = [SocketPath is null ? Split(Host)[0] : SocketPath.StartsWith("/var/run/postgresql/", StringComparison.Ordinal) ? "localhost" : Split(Host)[0], PortOf(0), database, User];
        foreach (string line in File.ReadLines(file))
        {
            List<string> parts = PassFields(line);
            if (parts.Count == 5 && wanted.Zip(parts).All(static pair => pair.Second == "*" || pair.First == pair.Second))
            {
                return parts[4];
            }
        }

        return null;
    }

    // host:port:database:user:password, \ before : and \.
    private static List<string> PassFields(string line)
    {
        List<string> parts = [];
        StringBuilder part = new();
        for (int i = 0; i < line.Length && line[0] != '#'; i++)
        {
            if (line[i] == '\\' && i + 1 < line.Length)
            {
                part.Append(line[++i]);
            }
            else if (line[i] == ':' && parts.Count < 4)
            {
                parts.Add(part.ToString());
                part.Clear();
            }
            else
            {
                part.Append(line[i]);
            }
        }

        parts.Add(part.ToString());
        return parts;
    }

    // key = value, values with spaces in single quotes, \ before ' and \.
    private static Dictionary<string, string> ParseWords(string text)
    {
        Dictionary<string, string> fields = new(StringComparer.Ordinal);
        int at = 0;
        while (true)
        {
            while (at < text.Length && char.IsWhiteSpace(text[at]))
            {
                at++;
            }

            if (at == text.Length)
            {
                return fields;
            }

            int equals = text.IndexOf('=', at);
            if (equals < 0)
            {
                throw Wrong("it is neither a URL nor made of key=value");
            }

            string key = text[at..equals].Trim();
            at = equals + 1;
            while (at < text.Length && char.IsWhiteSpace(text[at]))
            {
                at++;
            }

            bool isQuoted = at < text.Length && text[at] == '\'';
            at += isQuoted ? 1 : 0;
            StringBuilder value = new();
            while (at < text.Length && (isQuoted ? text[at] != '\'' : !char.IsWhiteSpace(text[at])))
            {
                at += text[at] == '\\' && at + 1 < text.Length ? 1 : 0;
                value.Append(text[at++]);
            }

            if (isQuoted && at++ >= text.Length)
            {
                throw Wrong("a quote in it does not end");
            }

            fields[key] = value.ToString();
        }
    }

    // scheme://user@host:port,host:port/database?key=value&…, each of them but the scheme may be left out; in brackets a host may have colons.
    private static Dictionary<string, string> ParseUrl(string text)
    {
        Dictionary<string, string> fields = new(StringComparer.Ordinal);
        string rest = text[(text.IndexOf("://", StringComparison.Ordinal) + 3)..];
        int question = rest.IndexOf('?');
        string query = question < 0 ? "" : rest[(question + 1)..];
        rest = question < 0 ? rest : rest[..question];
        int slash = rest.IndexOf('/');
        Add("dbname", slash < 0 ? "" : rest[(slash + 1)..]);
        rest = slash < 0 ? rest : rest[..slash];
        int at = rest.LastIndexOf('@');
        if (at >= 0 && rest[..at].Contains(':'))
        {
            throw Wrong("a password stands in it; use password-from");
        }

        Add("user", at < 0 ? "" : rest[..at]);
        rest = rest[(at + 1)..];
        List<string> hosts = [];
        List<string> ports = [];
        foreach (string one in Split(rest))
        {
            int bracket = one.LastIndexOf(']');
            int colon = one.IndexOf(':', Math.Max(0, bracket));
            ports.Add(colon < 0 ? "5432" : one[(colon + 1)..]);
            hosts.Add((colon < 0 ? one : one[..colon]).Trim('[', ']'));
        }

        Add("port", string.Join(',', ports));
        Add("host", string.Join(',', hosts));
        foreach (string pair in query.Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            int equals = pair.IndexOf('=');
            Add(equals < 0 ? pair : pair[..equals], equals < 0 ? "" : pair[(equals + 1)..]);
        }

        return fields;

        void Add(string key, string value)
        {
            if (value.Length > 0)
            {
                fields[key] = Uri.UnescapeDataString(value);
            }
        }
    }

    private static BackupIQException Wrong(string what) => new(
        ErrorCodes.Configuration, $"The DSN of the server cannot be used: {what}", "Write host=/run/postgresql user=backupiq dbname=postgres, or postgres://backupiq@host/postgres.");
}
