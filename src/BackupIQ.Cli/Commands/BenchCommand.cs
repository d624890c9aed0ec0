using System.Globalization;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs.Measuring;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>bench</c>, <c>bench compression [PATH]</c></summary>
internal sealed class BenchCommand : Verb
{
    public BenchCommand()
        : base("bench", "Measures how fast this machine does the steps of a backup, on one core.")
    {
        Subcommands.Add(new BenchCompressionCommand());

        // Without an action the parser would insist on one of the verbs below; it is never called.
        SetAction(static _ => ExitCodes.Done);
    }

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        StageMeasure[] measures = [.. StageBench.Run(cancellationToken)];
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartArray();
                foreach (StageMeasure measure in measures)
                {
                    writer.WriteStartObject();
                    writer.WriteString("stage", measure.Stage);
                    writer.WriteNumber("bytes_per_second", Math.Round(measure.Rate));
                    writer.WriteEndObject();
                }

                writer.WriteEndArray();
            });
            return Task.FromResult(ExitCodes.Done);
        }

        Table table = new("Step", ">Speed of one core");
        foreach (StageMeasure measure in measures)
        {
            table.Add(measure.Stage, Words.Size(measure.Rate) + "/s");
        }

        run.Print(table.Write);
        run.Screen.Note("'backupiq bench compression DIR' measures compression on your own files");
        return Task.FromResult(ExitCodes.Done);
    }
}

/// <summary><c>bench compression [PATH]</c></summary>
internal sealed class BenchCompressionCommand : Verb
{
    private const int SampleLength = 64 << 20;
    private static readonly TimeSpan Budget = TimeSpan.FromSeconds(3);

    public BenchCompressionCommand()
        : base("compression", "Measures every compression on your own files: speed, ratio, processor time.") =>
        Positional("PATH", "file or folder to take the sample from (default: the working folder)", 0, 1);

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string path = run.Arguments.Positional is [{ } given] ? given : ".";
        byte[] sample = ReadSample(path, cancellationToken);
        run.Screen.Note($"measuring on {Words.Size(sample.Length)} of {DisplayText.Of(System.IO.Path.GetFullPath(path))}, one core, up to {Budget.TotalSeconds:0} s each way");
        List<CompressionMeasure> measures = [];
        foreach (CompressionMeasure measure in CompressionBench.Run(sample, Budget, cancellationToken))
        {
            measures.Add(measure);
            run.Screen.Note($"{measure.Setting} done", Verbosity.Detailed);
        }

        if (run.WantsJson)
        {
            WriteJson(run, measures);
        }
        else
        {
            Table table = new("Compression", ">Compress", ">Restore", ">Ratio", ">CPU s/GiB", "Best for");
            foreach (CompressionMeasure measure in measures)
            {
                table.Add(measure.Missing is not null
                    ? [measure.Setting, "", "", "", "", measure.Missing]
                    : [
                        measure.Setting,
                        Words.Size(measure.CompressRate) + "/s",
                        Words.Size(measure.DecompressRate) + "/s",
                        measure.Ratio.ToString("0.00", CultureInfo.InvariantCulture),
                        measure.CpuPerGiB.ToString("0.0", CultureInfo.InvariantCulture),
                        measure.BestFor,
                    ]);
            }

            run.Print(table.Write);
        }

        return Task.FromResult(ExitCodes.Done);
    }

    private static void WriteJson(Invocation run, List<CompressionMeasure> measures) => run.Json.Document(writer =>
    {
        writer.WriteStartArray();
        foreach (CompressionMeasure measure in measures)
        {
            writer.WriteStartObject();
            writer.WriteString("compression", measure.Setting);
            writer.WriteNumber("compress_bytes_per_second", Math.Round(measure.CompressRate));
            writer.WriteNumber("decompress_bytes_per_second", Math.Round(measure.DecompressRate));
            writer.WriteNumber("ratio", Math.Round(measure.Ratio, 4));
            writer.WriteNumber("cpu_seconds_per_gib", Math.Round(measure.CpuPerGiB, 3));
            writer.WriteString("best_for", measure.BestFor);
            writer.WriteString("missing", measure.Missing);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    });

    /// <summary>The first bytes of files in the order of their names, as a backup would put them into frames.</summary>
    private static byte[] ReadSample(string path, CancellationToken cancellationToken)
    {
        try
        {
            EnumerationOptions options = new() { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.ReparsePoint | FileAttributes.Device };
            IEnumerable<string> files = File.Exists(path) ? [path] : Directory.EnumerateFiles(path, "*", options);
            using MemoryStream sample = new();
            byte[] buffer = new byte[1 << 16];
            foreach (string file in files)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using FileStream? content = OpenOrNull(file);
                for (int read = content?.Read(buffer) ?? 0; read > 0 && sample.Length < SampleLength; read = content!.Read(buffer))
                {
                    sample.Write(buffer, 0, (int)Math.Min(read, SampleLength - sample.Length));
                }

                if (sample.Length >= SampleLength)
                {
                    break;
                }
            }

            return sample.Length > 0 ? sample.ToArray()
                : throw new BackupIQException(ErrorCodes.SourceNotFound, "There is nothing to measure on", "Name a file or folder with content.").With("path", path);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.SourceNotFound, "The sample cannot be read", null, fault).With("path", path);
        }
    }

    private static FileStream? OpenOrNull(string file)
    {
        try
        {
            return new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            // A sample need not have every file.
            return null;
        }
    }
}
