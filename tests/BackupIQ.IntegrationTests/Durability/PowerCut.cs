using System.Text;

namespace BackupIQ.IntegrationTests.Durability;

/// <summary>
/// What a disk may hold of a folder when the power goes while a program works in it. A name is certain to be there (or gone) once its folder was
/// synced after the change, and the folder's own name likewise; a file's bytes once it was synced after the last write. Until then anything can
/// have reached the disk or not: luck decides.
/// </summary>
/// <remarks>
/// Objects are immutable, so their bytes are taken from the folder as it was before and as it is after; one that was made and removed meanwhile is
/// left out. What lies in <c>tmp</c> is no object.
/// </remarks>
internal sealed class PowerCut
{
    private readonly string _root;
    private readonly string _before;
    private readonly IReadOnlyList<SystemCall> _calls;

    /// <summary>Makes the model of <paramref name="root"/> as it is now, from what it was, and from what was done to it.</summary>
    public PowerCut(string root, string before, IEnumerable<SystemCall> calls)
    {
        _root = root;
        _before = before;
        _calls = [.. calls.Where(call => call.IsSyncOfAll || call.Paths.Any(path => path == root || path.StartsWith(root + "/", StringComparison.Ordinal)))];
    }

    /// <summary>Every moment at which something had just been done, from the beginning to the end.</summary>
    public IReadOnlyList<int> Moments => [0, .. _calls.Select(static call => call.End)];

    /// <summary>The objects that a disk would have if the power went at <paramref name="moment"/>: their names, and whether their bytes are there.</summary>
    public SortedDictionary<string, bool> ObjectsAt(int moment, Func<bool> luck)
    {
        Dictionary<string, FileBytes> files = new(StringComparer.Ordinal);
        Dictionary<string, List<NameChange>> names = new(StringComparer.Ordinal);
        foreach (SystemCall call in _calls.Where(call => call.End <= moment))
        {
            Apply(call, files, names);
        }

        SortedDictionary<string, bool> objects = new(StringComparer.Ordinal);
        foreach (string name in NamesIn(_before).Concat(names.Keys).Distinct().Where(IsObject))
        {
            if (IsThere(name))
            {
                objects[name] = !files.TryGetValue(name, out FileBytes? bytes) || bytes.AreSafe || luck();
            }
        }

        return objects;

        bool IsThere(string name)
        {
            bool there = name.Length == 0 || Path.Exists(Path.Join(_before, name));
            foreach (NameChange change in names.GetValueOrDefault(name, []))
            {
                there = change.IsSafe || luck() ? change.IsThere : there;
            }

            return there && (name.Length == 0 || IsThere(FolderOf(name)));
        }
    }

    /// <summary>Puts these objects into <paramref name="folder"/>; one whose bytes were lost is as long as it was, but zeros.</summary>
    public void Build(IReadOnlyDictionary<string, bool> objects, string folder)
    {
        foreach ((string name, bool hasBytes) in objects)
        {
            string from = File.Exists(Path.Join(_root, name)) ? Path.Join(_root, name) : Path.Join(_before, name);
            string to = Path.Join(folder, name);
            Directory.CreateDirectory(Path.GetDirectoryName(to)!);
            if (hasBytes)
            {
                File.Copy(from, to);
            }
            else
            {
                File.WriteAllBytes(to, new byte[new FileInfo(from).Length]);
            }
        }
    }

    /// <summary>The objects of a repository in <paramref name="folder"/>.</summary>
    public static IReadOnlyList<string> NamesIn(string folder) =>
        Directory.Exists(folder)
            ? [.. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(folder, path)).Where(static name => !IsSpool(name))]
            : [];

    /// <summary>A text that two equal disks have in common.</summary>
    public static string Describe(IReadOnlyDictionary<string, bool> objects) =>
        objects.Aggregate(new StringBuilder(), static (text, one) => text.Append(one.Key).AppendLine(one.Value ? "" : " (zeros)")).ToString();

    private void Apply(SystemCall call, Dictionary<string, FileBytes> files, Dictionary<string, List<NameChange>> names)
    {
        if (call.IsSyncOfAll)
        {
            files.Values.ToList().ForEach(file => file.Sync(call));
            names.Values.SelectMany(static changes => changes).ToList().ForEach(change => change.Sync(call));
        }
        else if (call.IsSync)
        {
            string name = NameOf(call.Path);
            files.GetValueOrDefault(name)?.Sync(call);
            names.Where(one => one.Key.Length > 0 && FolderOf(one.Key) == name).SelectMany(static one => one.Value).ToList().ForEach(change => change.Sync(call));
        }
        else if (call.IsWrite)
        {
            Bytes(call.Path).Write(call);
        }
        else if (call.Name is "creat" or "openat")
        {
            if (call.Name == "creat" || call.Arguments.Contains("O_CREAT", StringComparison.Ordinal) || call.Arguments.Contains("O_TRUNC", StringComparison.Ordinal))
            {
                Bytes(call.Path).Write(call);
                Change(call.Path, isThere: true);
            }
        }
        else if (call.Name is "mkdir" or "mkdirat")
        {
            Change(call.Path, isThere: true);
        }
        else if (call.Name is "unlink" or "unlinkat" or "rmdir")
        {
            Change(call.Path, isThere: false);
        }
        else
        {
            files[NameOf(call.Paths[1])] = Bytes(call.Paths[0]);
            Change(call.Paths[1], isThere: true);
            if (call.Name.StartsWith("rename", StringComparison.Ordinal))
            {
                Change(call.Paths[0], isThere: false);
            }
        }

        FileBytes Bytes(string path) =>
            files.TryGetValue(NameOf(path), out FileBytes? bytes) ? bytes : files[NameOf(path)] = new FileBytes();

        void Change(string path, bool isThere)
        {
            if (!names.TryGetValue(NameOf(path), out List<NameChange>? changes))
            {
                names[NameOf(path)] = changes = [];
            }

            changes.Add(new NameChange(isThere, call.End));
        }
    }

    // Whether its bytes are known, too.
    private bool IsObject(string name) => !IsSpool(name) && (File.Exists(Path.Join(_root, name)) || File.Exists(Path.Join(_before, name)));

    private string NameOf(string path) => path == _root ? "" : path.StartsWith(_root + "/", StringComparison.Ordinal) ? path[(_root.Length + 1)..] : path;

    private static bool IsSpool(string name) => name.StartsWith("tmp/", StringComparison.Ordinal);

    private static string FolderOf(string name) => name.LastIndexOf('/') is > 0 and int slash ? name[..slash] : "";

    private sealed class FileBytes
    {
        private int _written;
        private int _synced = -1;

        public bool AreSafe => _synced > _written;

        public void Write(SystemCall call) => _written = Math.Max(_written, call.End);

        // What was written while the sync was under way may have missed it.
        public void Sync(SystemCall call) => _synced = Math.Max(_synced, call.Begin);
    }

    private sealed class NameChange(bool isThere, int end)
    {
        public bool IsThere => isThere;

        public bool IsSafe { get; private set; }

        public void Sync(SystemCall call) => IsSafe |= call.Begin > end;
    }
}
