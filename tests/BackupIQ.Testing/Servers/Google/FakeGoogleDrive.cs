using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Net.Http.Headers;

namespace BackupIQ.Testing.Servers.Google;

/// <summary>
/// A FAKE Google Drive: the part of version 3 that BackupIQ uses. Names are not unique; a query learns of changes only after a while, of names later than of folders; ids are
/// made beforehand; there is a quota, and a number of requests that is too many. See <see cref="FakeGoogle"/> for what that is worth.
/// </summary>
public sealed partial class FakeGoogleDrive : FakeGoogle
{
    private const string RootId = "0AFakeRootOfMyDriveUk9PVA";
    private const string FolderType = "application/vnd.google-apps.folder";
    private const int LargestPage = 1000;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, Item> _items = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, bool> _ids = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Func<FakeGoogleCall, Task>> _methods;
    private readonly FakeResumableUploads _uploads;
    private int _requests;

    private FakeGoogleDrive()
        : base(GoogleDiscovery.Drive)
    {
        _uploads = new FakeResumableUploads(this);
        _methods = new(StringComparer.Ordinal)
        {
            ["drive.about.get"] = AboutAsync,
            ["drive.files.create"] = CreateAsync,
            ["drive.files.delete"] = DeleteAsync,
            ["drive.files.generateIds"] = GenerateAsync,
            ["drive.files.get"] = GetAsync,
            ["drive.files.list"] = ListAsync,
        };
        _items[RootId] = new Item(RootId, "My Drive", "", FolderType, [], DateTimeOffset.UnixEpoch);
    }

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> MethodIds => _methods.Keys;

    /// <summary>How long after a file was made, or deleted, a query for its name knows nothing of that.</summary>
    public TimeSpan NamesLag { get; set; }

    /// <summary>The same of queries for what is in a folder.</summary>
    public TimeSpan FoldersLag { get; set; }

    /// <summary>Bytes that may be stored; null: as many as somebody likes.</summary>
    public long? Quota { get; set; }

    /// <summary>Files that a folder may have.</summary>
    public int MostChildren { get; set; } = int.MaxValue;

    /// <summary>Every so many requests one is too many; 0: none is.</summary>
    public int TooManyEvery { get; set; }

    /// <summary>Uploads that were begun and have not come to their end.</summary>
    public int OpenUploads => _uploads.Open;

    /// <summary>Starts one on a port of this machine.</summary>
    public static async Task<FakeGoogleDrive> StartAsync()
    {
        FakeGoogleDrive server = new();
        await server.ListenAsync();
        return server;
    }

    /// <summary>Ids of the files and folders of a name, in the order in which they were made.</summary>
    public IReadOnlyList<string> IdsOf(string name)
    {
        lock (_gate)
        {
            return [.. _items.Values.Where(item => item.Name == name && item.Deleted is null).OrderBy(static item => item.Created).ThenBy(static item => item.Id, StringComparer.Ordinal).Select(static item => item.Id)];
        }
    }

    /// <summary>Makes a file that somebody else put there, in the folder of another one.</summary>
    public void AddBeside(string id, string name, byte[] bytes)
    {
        lock (_gate)
        {
            Add(new Item(NewId(), name, _items[id].Parent, "application/octet-stream", bytes, Now));
        }
    }

    /// <summary>Puts a file or folder into the trash.</summary>
    public void Trash(string id)
    {
        lock (_gate)
        {
            _items[id].IsTrashed = true;
        }
    }

    /// <summary>Makes a shared drive; its id.</summary>
    public string MakeSharedDrive()
    {
        lock (_gate)
        {
            string id = "0A" + NewId()[..15];
            _items[id] = new Item(id, "Drive", "", FolderType, [], Now);
            return id;
        }
    }

    /// <inheritdoc/>
    private protected override string? Refusal(FakeGoogleCall call)
    {
        GoogleRole least = call.Method.Id is "drive.files.create" or "drive.files.delete" ? GoogleRole.User : GoogleRole.Viewer;
        return Accounts.RoleOf(call.Account) >= least ? null : "does not have sufficient permissions for this file.";
    }

    /// <inheritdoc/>
    private protected override Task AnswerAsync(FakeGoogleCall call) =>
        TooManyEvery > 0 && Interlocked.Increment(ref _requests) % TooManyEvery == 0 ? call.FailAsync(403, "userRateLimitExceeded", "User Rate Limit Exceeded")
        : call.IsUpload && call.Verb != "POST" ? _uploads.ServeAsync(call)
        : _methods[call.Method.Id](call);

    private Task AboutAsync(FakeGoogleCall call)
    {
        if (!call.Query.ContainsKey("fields"))
        {
            return call.FailAsync(400, "required", "The 'fields' parameter is required for this method.");
        }

        JsonObject quota = new() { ["usage"] = Used().ToString(CultureInfo.InvariantCulture) };
        if (Quota is { } limit)
        {
            quota["limit"] = limit.ToString(CultureInfo.InvariantCulture);
        }

        return call.AnswerAsync(new JsonObject { ["storageQuota"] = quota });
    }

    private Task GenerateAsync(FakeGoogleCall call)
    {
        JsonArray ids = [];
        for (int i = int.Parse(call.Query.GetValueOrDefault("count", "10"), CultureInfo.InvariantCulture); i > 0; i--)
        {
            string id = NewId();
            _ids[id] = true;
            ids.Add(id);
        }

        return call.AnswerAsync(new JsonObject { ["kind"] = "drive#generatedIds", ["space"] = "drive", ["ids"] = ids });
    }

    private Task GetAsync(FakeGoogleCall call)
    {
        Item? item = Find(call.Names["fileId"]);
        return item is null ? call.FailAsync(404, "notFound", $"File not found: {call.Names["fileId"]}.")
            : call.Query.GetValueOrDefault("alt") != "media" ? call.AnswerAsync(item.ToJson(IsTrashed(item)))
            : item.Type == FolderType ? call.FailAsync(403, "fileNotDownloadable", "Only files with binary content can be downloaded.")
            : FakeRange.AnswerAsync(call, item.Bytes);
    }

    private Task DeleteAsync(FakeGoogleCall call)
    {
        lock (_gate)
        {
            if (Find(call.Names["fileId"]) is not { } item)
            {
                return call.FailAsync(404, "notFound", $"File not found: {call.Names["fileId"]}.");
            }

            Remove(item);
        }

        return call.AnswerAsync(204);
    }

    private void Remove(Item item)
    {
        item.Deleted = Now;
        foreach (Item child in _items.Values.Where(child => child.Parent == item.Id && child.Deleted is null).ToArray())
        {
            Remove(child);
        }
    }

    private Task ListAsync(FakeGoogleCall call)
    {
        List<Func<Item, bool>> terms = [];
        bool hasName = false;
        foreach (string term in AndPattern.Split(call.Query.GetValueOrDefault("q", "trashed = false")))
        {
            Match match = TermPattern.Match(term);
            if (!match.Success)
            {
                return call.FailAsync(400, "invalid", "Invalid Value");
            }

            string value = match.Groups["value"].Value.Replace("\\'", "'", StringComparison.Ordinal).Replace("\\\\", "\\", StringComparison.Ordinal);
            switch (match.Groups["field"].Value, match.Groups["operator"].Value)
            {
                case ("name", "="):
                    hasName = true;
                    terms.Add(item => string.Equals(item.Name, value, StringComparison.OrdinalIgnoreCase));
                    break;
                case ("mimeType", "="):
                    terms.Add(item => item.Type == value);
                    break;
                case ("mimeType", "!="):
                    terms.Add(item => item.Type != value);
                    break;
                case ("trashed", "="):
                    terms.Add(item => !IsTrashed(item));
                    break;
                case ("parents", "in"):
                    string parent = value == "root" ? RootId : value;
                    if (Find(parent) is null)
                    {
                        return call.FailAsync(404, "notFound", $"File not found: {parent}.");
                    }

                    terms.Add(item => item.Parent == parent);
                    break;
                default:
                    return call.FailAsync(400, "invalid", "Invalid Value");
            }
        }

        DateTimeOffset known = Now - (hasName ? NamesLag : FoldersLag);
        IEnumerable<Item> found;
        lock (_gate)
        {
            found = [.. _items.Values.Where(item => item.Created <= known && (item.Deleted is null || item.Deleted > known) && terms.TrueForAll(term => term(item)))];
        }

        Item[] ordered = call.Query.GetValueOrDefault("orderBy") switch
        {
            null => [.. found.OrderBy(static item => item.Id, StringComparer.Ordinal)],
            "createdTime desc" => [.. found.OrderByDescending(static item => item.Created)],
            _ => [],
        };
        int size = int.Parse(call.Query.GetValueOrDefault("pageSize", "100"), CultureInfo.InvariantCulture);
        if (size is < 1 or > LargestPage || !int.TryParse(call.Query.GetValueOrDefault("pageToken", "0").Replace("~", "", StringComparison.Ordinal), CultureInfo.InvariantCulture, out int from))
        {
            return call.FailAsync(400, "invalid", "Invalid Value");
        }

        JsonObject page = new() { ["kind"] = "drive#fileList", ["files"] = new JsonArray([.. ordered.Skip(from).Take(size).Select(item => (JsonNode)item.ToJson(IsTrashed(item)))]) };
        if (from + size < ordered.Length)
        {
            page["nextPageToken"] = string.Create(CultureInfo.InvariantCulture, $"~{from + size}");
        }

        return call.AnswerAsync(page);
    }

    private async Task CreateAsync(FakeGoogleCall call)
    {
        JsonObject metadata;
        byte[] bytes = [];
        try
        {
            switch (call.IsUpload ? call.Query.GetValueOrDefault("uploadType") : "none")
            {
                case "none":
                    metadata = (await JsonNode.ParseAsync(call.Context.Request.Body))!.AsObject();
                    break;
                case "multipart":
                    MultipartReader reader = new(HeaderUtilities.RemoveQuotes(MediaTypeHeaderValue.Parse(call.Context.Request.ContentType).Boundary).ToString(), call.Context.Request.Body);
                    metadata = (await JsonNode.ParseAsync((await reader.ReadNextSectionAsync())!.Body))!.AsObject();
                    using (MemoryStream body = new())
                    {
                        await (await reader.ReadNextSectionAsync())!.Body.CopyToAsync(body);
                        bytes = body.ToArray();
                    }

                    if (await reader.ReadNextSectionAsync() is not null)
                    {
                        await call.FailAsync(400, "badContent", "Malformed multipart body.");
                        return;
                    }

                    break;
                case "resumable":
                    metadata = (await JsonNode.ParseAsync(call.Context.Request.Body))!.AsObject();
                    if (Problem(metadata, 0) is { } problem)
                    {
                        await call.FailAsync(problem.Status, problem.Reason, problem.Message);
                        return;
                    }

                    await _uploads.OpenAsync(call, (last, all) => StoreAsync(last, metadata, all));
                    return;
                default:
                    await call.FailAsync(400, "badRequest", "Bad Request");
                    return;
            }

            await StoreAsync(call, metadata, bytes);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or NullReferenceException or InvalidDataException)
        {
            await call.FailAsync(400, "parseError", "Parse Error");
        }
        catch (Exception e) when (e is BadHttpRequestException or ConnectionResetException or IOException)
        {
            call.Context.Abort();
        }
    }

    // Null: it was refused.
    private async Task<JsonNode?> StoreAsync(FakeGoogleCall call, JsonObject metadata, byte[] bytes)
    {
        Item? item = null;
        (int Status, string Reason, string Message)? problem;
        lock (_gate)
        {
            problem = Problem(metadata, bytes.Length);
            if (problem is null)
            {
                item = new Item(
                    metadata["id"]?.GetValue<string>() ?? NewId(),
                    metadata["name"]?.GetValue<string>() ?? "Untitled",
                    ParentOf(metadata),
                    metadata["mimeType"]?.GetValue<string>() ?? "application/octet-stream",
                    bytes,
                    Now);
                Add(item);
            }
        }

        if (problem is { } why)
        {
            await call.FailAsync(why.Status, why.Reason, why.Message);
            return null;
        }

        JsonObject json = item!.ToJson(isTrashed: false);
        await call.AnswerAsync(json.DeepClone());
        return json;
    }

    private (int Status, string Reason, string Message)? Problem(JsonObject metadata, int length)
    {
        lock (_gate)
        {
            string parent = ParentOf(metadata);
            return metadata["id"]?.GetValue<string>() is { } id && _items.ContainsKey(id) ? (409, "fileIdInUse", "A file already exists with the provided ID.")
                : metadata["id"]?.GetValue<string>() is { } unknown && !_ids.ContainsKey(unknown) ? (400, "invalid", "The provided file ID is not usable.")
                : Find(parent) is not { Type: FolderType } ? (404, "notFound", $"File not found: {parent}.")
                : Quota is { } limit && Used() + length > limit ? (403, "storageQuotaExceeded", "The user's Drive storage quota has been exceeded.")
                : _items.Values.Count(item => item.Parent == parent && item.Deleted is null) >= MostChildren ? (403, "numChildrenInNonRootLimitExceeded", "The limit for this folder's number of children (files and folders) has been exceeded.")
                : null;
        }
    }

    private static string ParentOf(JsonObject metadata) =>
        metadata["parents"]?.AsArray() is [{ } first, ..] && first.GetValue<string>() is var id and not "root" ? id : RootId;

    private Item? Find(string id)
    {
        lock (_gate)
        {
            return _items.TryGetValue(id == "root" ? RootId : id, out Item? item) && item.Deleted is null ? item : null;
        }
    }

    private bool IsTrashed(Item item)
    {
        lock (_gate)
        {
            return item.IsTrashed || (_items.TryGetValue(item.Parent, out Item? parent) && IsTrashed(parent));
        }
    }

    private void Add(Item item) => _items[item.Id] = item;

    private long Used()
    {
        lock (_gate)
        {
            return _items.Values.Where(static item => item.Deleted is null).Sum(static item => (long)item.Bytes.Length);
        }
    }

    private static string NewId() => "1" + Convert.ToBase64String(RandomNumberGenerator.GetBytes(24)).Replace('+', '-').Replace('/', '_');

    [GeneratedRegex(""" and (?=(?:[^'\\]|\\.|'(?:[^'\\]|\\.)*')*$)""")]
    private static partial Regex AndPattern { get; }

    [GeneratedRegex("""^(?:'(?<value>(?:[^'\\]|\\.)*)' (?<operator>in) (?<field>parents)|(?<field>name|mimeType) (?<operator>=|!=) '(?<value>(?:[^'\\]|\\.)*)'|(?<field>trashed) (?<operator>=) (?<value>false))$""")]
    private static partial Regex TermPattern { get; }

    private sealed record Item(string Id, string Name, string Parent, string Type, byte[] Bytes, DateTimeOffset Created)
    {
        public DateTimeOffset? Deleted { get; set; }

        public bool IsTrashed { get; set; }

        public JsonObject ToJson(bool isTrashed)
        {
            JsonObject json = new()
            {
                ["kind"] = "drive#file",
                ["id"] = Id,
                ["name"] = Name,
                ["mimeType"] = Type,
                ["parents"] = new JsonArray(Parent),
                ["trashed"] = isTrashed,
                ["createdTime"] = Created.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture),
            };
            if (Type != FolderType)
            {
#pragma warning disable CA5351 // It is the service's own checksum.
                json["md5Checksum"] = Convert.ToHexStringLower(MD5.HashData(Bytes));
#pragma warning restore CA5351
                json["size"] = Bytes.Length.ToString(CultureInfo.InvariantCulture);
            }

            return json;
        }
    }
}
