using System.Text.Json;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Restic;

/// <summary>
/// A folder of a restic snapshot: a JSON document with its entries, read one at a time. It is gone through once before the first is given out, so
/// that a document that is not whole gives none, and entries come sorted by the bytes of their names, each name once, whatever the document's
/// order.
/// </summary>
internal sealed class ResticTree
{
    private static readonly JsonReaderOptions Options = new() { MaxDepth = 64 };

    private readonly byte[] _json;
    private readonly List<(byte[] Name, Range Place)>? _sorted;
    private JsonReaderState _state = new(Options);
    private int _at;
    private int _next;

    private ResticTree(byte[] json, int first, JsonReaderState state, List<(byte[], Range)>? sorted)
    {
        _json = json;
        _at = first;
        _state = state;
        _sorted = sorted;
    }

    /// <summary>Bytes of the document.</summary>
    public int Length => _json.Length;

    /// <summary>Where the next entry stands: <see cref="Open"/> with it goes on there.</summary>
    public int Position => _next;

    /// <summary>Takes a document; <paramref name="position"/> entries of it are left out.</summary>
    /// <exception cref="ResticDamageException">It is no tree.</exception>
    public static ResticTree Open(byte[] json, int position = 0)
    {
        try
        {
            ResticTree tree = Inspect(json);
            while (tree._next < position && (tree._sorted is not null ? tree._next < tree._sorted.Count : tree.IsAtEntry()))
            {
                tree.Skip();
            }

            return tree;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new ResticDamageException("A folder in the restic repository is malformed.", e);
        }
    }

    /// <summary>
    /// The next entry. An entry that is refused is null, with what it is and why in <paramref name="refused"/>; one of which only something is
    /// left out comes with both. False: there are no more.
    /// </summary>
    public bool Next(out ResticNode? node, out ResticRefusal? refused)
    {
        node = null;
        refused = null;
        if (_sorted is not null ? _next == _sorted.Count : !IsAtEntry())
        {
            return false;
        }

        try
        {
            Utf8JsonReader reader = _sorted is not null
                ? new Utf8JsonReader(_json.AsSpan(_sorted[_next].Place), Options)
                : new Utf8JsonReader(_json.AsSpan(_at), isFinalBlock: true, _state);
            reader.Read();
            node = ReadNode(ref reader, out refused);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            // The document's shape is known to be right, so it goes on behind this entry.
            refused = new ResticRefusal("?"u8.ToArray(), ErrorCodes.SourceUnreadable, "An entry of this folder is malformed, so it is left out.");
        }

        Skip();
        return true;
    }

    private bool IsAtEntry()
    {
        Utf8JsonReader reader = new(_json.AsSpan(_at), isFinalBlock: true, _state);
        return reader.Read() && reader.TokenType == JsonTokenType.StartObject;
    }

    private void Skip()
    {
        if (_sorted is null)
        {
            Utf8JsonReader reader = new(_json.AsSpan(_at), isFinalBlock: true, _state);
            reader.Read();
            reader.Skip();
            _at += (int)reader.BytesConsumed;
            _state = reader.CurrentState;
        }

        _next++;
    }

    // The whole document, as far as its shape and the order of its names.
    private static ResticTree Inspect(byte[] json)
    {
        Utf8JsonReader reader = new(json, Options);
        bool isSorted = true;
        List<(byte[] Name, Range Place)>? names = null;
        int first = 0;
        JsonReaderState state = default;
        bool found = false;
        Expect(ref reader, JsonTokenType.StartObject);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (found || !reader.ValueTextEquals("nodes"u8))
            {
                reader.Read();
                reader.Skip();
                continue;
            }

            found = true;
            reader.Read();
            if (reader.TokenType == JsonTokenType.Null)
            {
                continue;
            }

            if (reader.TokenType != JsonTokenType.StartArray)
            {
                throw new JsonException("The entries are no list.");
            }

            first = (int)reader.BytesConsumed;
            state = reader.CurrentState;
            Utf8JsonReader begin = reader;
            isSorted = InspectNodes(ref reader, null);
            if (!isSorted)
            {
                names = [];
                _ = InspectNodes(ref begin, names);
            }
        }

        if (!found || reader.TokenType != JsonTokenType.EndObject || reader.Read())
        {
            throw new JsonException("The document is not one object with entries.");
        }

        if (isSorted)
        {
            // A list that is null has no first entry: reading there finds the end at once.
            return first == 0 ? new ResticTree([], 0, default, []) : new ResticTree(json, first, state, null);
        }

        // The first of each name counts; a stable sort keeps it first.
        List<(byte[] Name, Range Place)> sorted = [.. names!.OrderBy(static entry => entry.Name, Files.ByBytes.Instance)];
        for (int i = sorted.Count - 1; i > 0; i--)
        {
            if (sorted[i].Name.AsSpan().SequenceEqual(sorted[i - 1].Name))
            {
                sorted.RemoveAt(i);
            }
        }

        return new ResticTree(json, 0, default, sorted);
    }

    // Goes to the end of the list; whether the names rise. With a list, names and places are gathered.
    private static bool InspectNodes(ref Utf8JsonReader reader, List<(byte[], Range)>? names)
    {
        bool isSorted = true;
        byte[] last = [];
        bool isFirst = true;
        while (reader.Read() && reader.TokenType == JsonTokenType.StartObject)
        {
            int start = (int)reader.TokenStartIndex;
            byte[] name = [];
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isName = reader.ValueTextEquals("name"u8);
                reader.Read();
                if (isName && reader.TokenType == JsonTokenType.String)
                {
                    name = ResticText.Read(ref reader);
                    name = ResticText.Unquote(name) ?? name;
                }
                else
                {
                    reader.Skip();
                }
            }

            isSorted &= isFirst || last.AsSpan().SequenceCompareTo(name) < 0;
            isFirst = false;
            last = name;
            names?.Add((name, start..(int)reader.BytesConsumed));
        }

        return reader.TokenType == JsonTokenType.EndArray ? isSorted : throw new JsonException("An entry is no object.");
    }

    // Stands on the entry's first token, and leaves on its last.
    private static ResticNode? ReadNode(ref Utf8JsonReader reader, out ResticRefusal? refused)
    {
        ResticNodeFields fields = new();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            fields.ReadField(ref reader);
        }

        refused = fields.Refusal();
        if (refused is not null)
        {
            return null;
        }

        refused = fields.Problem();
        return fields.ToNode();
    }

    private static void Expect(ref Utf8JsonReader reader, JsonTokenType type)
    {
        if (!reader.Read() || reader.TokenType != type)
        {
            throw new JsonException($"{type} is missing.");
        }
    }
}
