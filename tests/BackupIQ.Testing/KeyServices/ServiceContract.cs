using System.Reflection;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace BackupIQ.Testing.KeyServices;

/// <summary>
/// What a provider has published of its interface, as far as a fake of it goes: routes, and which fields go in and out. The extracts under Contracts name
/// where they were taken from. A <c>*</c> behind a field means that it must be there; <c>{x}</c> is one segment of a path, <c>{x+}</c> any number.
/// </summary>
internal sealed class ServiceContract
{
    private readonly IReadOnlyList<Operation> _operations;

    private ServiceContract(string source, IReadOnlyList<Operation> operations)
    {
        Source = source;
        _operations = operations;
    }

    /// <summary>Where it was taken from.</summary>
    public string Source { get; }

    public IEnumerable<string> Names => _operations.Select(static operation => operation.Name);

    /// <summary>Reads the extract of a name.</summary>
    public static ServiceContract Load(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream($"{typeof(ServiceContract).Namespace}.Contracts.{name}.json")
            ?? throw new InvalidOperationException($"There is no extract '{name}'.");
        JsonObject root = (JsonObject)JsonNode.Parse(stream)!;
        return new ServiceContract(
            (string)root["source"]!,
            [
                .. root["operations"]!.AsArray().Select(static node => new Operation(
                    (string)node!["name"]!, (string)node["method"]!, (string)node["path"]!, (string?)node["target"], Fields(node, "query"), Fields(node, "request"), Fields(node, "response"))),
            ]);
    }

    /// <summary>The operation that a request is, with what its path names; null: no such operation is published.</summary>
    public (Operation Operation, Dictionary<string, string> Route)? Match(HttpRequest request)
    {
        foreach (Operation operation in _operations.Where(operation => operation.Method == request.Method))
        {
            if (operation.Target is not null && operation.Target != request.Headers["X-Amz-Target"])
            {
                continue;
            }

            Dictionary<string, string> route = new(StringComparer.Ordinal);
            if (Matches(operation.Path.Split('/'), (request.Path.Value ?? "").Split('/'), route))
            {
                return (operation, route);
            }
        }

        return null;
    }

    private static string[] Fields(JsonNode node, string name) => node[name] is JsonArray list ? [.. list.Select(static field => (string)field!)] : [];

    private static bool Matches(string[] pattern, string[] path, Dictionary<string, string> route)
    {
        for (int i = 0; i < pattern.Length; i++)
        {
            if (pattern[i].EndsWith("+}", StringComparison.Ordinal))
            {
                route[pattern[i][1..^2]] = string.Join('/', path.Skip(i));
                return path.Length > i;
            }

            int brace = pattern[i].IndexOf('{');
            if (i >= path.Length || (brace < 0 && pattern[i] != path[i]))
            {
                return false;
            }

            if (brace >= 0)
            {
                // What stands behind the braces is a verb of Google's: {name}:encrypt.
                int end = pattern[i].IndexOf('}');
                string behind = pattern[i][(end + 1)..];
                if (path[i].Length <= behind.Length || !path[i].EndsWith(behind, StringComparison.Ordinal) || (behind.Length == 0 && path[i].Contains(':')))
                {
                    return false;
                }

                route[pattern[i][1..end]] = path[i][..^behind.Length];
            }
        }

        return pattern.Length == path.Length;
    }

    internal sealed record Operation(
        string Name, string Method, string Path, string? Target, string[] Query, string[] Request, string[] Response)
    {
        /// <summary>What of a request is not as published.</summary>
        public IEnumerable<string> Violations(HttpRequest request, JsonObject? body)
        {
            foreach (string name in request.Query.Keys.Where(name => !Knows(Query, name)))
            {
                yield return $"{Name}: the query has '{name}'";
            }

            foreach (string name in Query.Where(name => name.EndsWith('*') && !request.Query.ContainsKey(name[..^1])))
            {
                yield return $"{Name}: the query lacks '{name[..^1]}'";
            }

            foreach (string name in Leaves(body).Where(name => !Knows(Request, name)))
            {
                yield return $"{Name}: the request has '{name}'";
            }

            foreach (string name in Request.Where(name => name.EndsWith('*') && !name.EndsWith(".*", StringComparison.Ordinal) && body?[name[..^1]] is null))
            {
                yield return $"{Name}: the request lacks '{name[..^1]}'";
            }
        }

        /// <summary>What of the fake's own answer is not as published.</summary>
        public IEnumerable<string> Violations(JsonObject answer) => Leaves(answer).Where(name => !Knows(Response, name)).Select(name => $"{Name}: the fake's answer has '{name}'");

        private static bool Knows(string[] fields, string name) => fields.Any(field =>
            field == name || field == name + "*" || (field.EndsWith(".*", StringComparison.Ordinal) && name.StartsWith(field[..^1], StringComparison.Ordinal)));

        private static IEnumerable<string> Leaves(JsonNode? node, string path = "")
        {
            if (node is not JsonObject fields)
            {
                return path.Length == 0 ? [] : [path];
            }

            return fields.SelectMany(field => Leaves(field.Value, path.Length == 0 ? field.Key : $"{path}.{field.Key}"));
        }
    }
}
