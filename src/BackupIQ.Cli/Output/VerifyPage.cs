using System.Globalization;
using System.Net;
using System.Text;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Output;

/// <summary>The report of a verification as a page of its own: it needs no other file, no network and no script, and prints on paper.</summary>
internal static class VerifyPage
{
    private const string Style = """
        :root { color-scheme: light dark; --text: #1c2430; --soft: #5b6675; --line: #dfe4ea; --ground: #fff; --good: #1a7f37; --warn: #9a6700; --bad: #c4232b; --none: #6e7781; }
        @media (prefers-color-scheme: dark) { :root { --text: #e6e9ee; --soft: #9aa5b4; --line: #343c47; --ground: #14181d; --good: #4cc26a; --warn: #e0b03b; --bad: #ff7b72; --none: #9aa5b4; } }
        body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--text); background: var(--ground); margin: 2.5rem auto; max-width: 62rem; padding: 0 1.25rem; }
        h1 { font-size: 1.5rem; margin: 0 0 .25rem; } p { margin: 0; } .soft { color: var(--soft); }
        .verdict { display: flex; gap: 1rem; align-items: baseline; border-left: .4rem solid currentColor; padding: .5rem 1rem; margin: 1.5rem 0; }
        .verdict strong { font-size: 1.25rem; } .verdict span { color: var(--text); }
        dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.25rem; margin: 0 0 2rem; } dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
        table { border-collapse: collapse; width: 100%; } th { text-align: left; color: var(--soft); font-weight: 600; }
        th, td { padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--line); vertical-align: top; } td.number, th.number { text-align: right; white-space: nowrap; }
        td.status { font-weight: 600; white-space: nowrap; } td.seen { overflow-wrap: anywhere; } details { margin-top: .35rem; } summary { cursor: pointer; color: var(--soft); }
        ul { margin: .25rem 0 0; padding-left: 1.1rem; font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace; }
        .passed { color: var(--good); } .warning { color: var(--warn); } .failed { color: var(--bad); } .skipped { color: var(--none); }
        @media print { body { margin: 0; max-width: none; } }
        """;

    /// <summary>The page.</summary>
    /// <param name="report">What it shows; nothing of it is taken for markup.</param>
    /// <param name="zone">The zone in which moments are shown.</param>
    public static string Of(VerifyReport report, TimeZoneInfo zone)
    {
        string status = VerifyOutput.Word(report.OverallStatus);
        string title = $"Verification: {report.Subject}";
        StringBuilder page = new();
        page.Append($"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{Text(title)}</title>\n<style>\n{Style}\n</style>\n</head>\n<body>\n");
        page.Append($"<h1>Verification</h1>\n<p class=\"soft\">{Text(report.Subject)}</p>\n");
        page.Append($"<div class=\"verdict {status}\"><strong>{Verdict(report.OverallStatus)}</strong><span>{Sentence(report)}</span></div>\n<dl>\n");
        Fact(page, "Level", Level(report));
        Fact(page, "Begun", $"{Words.Moment(report.Started, zone)} ({zone.Id})");
        Fact(page, "Took", Words.Duration(report.Duration));
        if (report.Snapshot is { } snapshot)
        {
            Fact(page, "Snapshot", $"{snapshot.Id}, {snapshot.Type}, of {Words.Moment(snapshot.Time, zone)} on {snapshot.Hostname}");
        }

        if (report.Rto is { } rto)
        {
            Fact(page, "Time to recover", $"{Words.Duration(rto)}: restore {Words.Duration(report.RestoreDuration!.Value)}, recovery {Words.Duration(report.RecoveryDuration!.Value)}");
        }

        page.Append("</dl>\n<table>\n<thead><tr><th>Check</th><th>Status</th><th class=\"number\">Time</th><th>Seen</th></tr></thead>\n<tbody>\n");
        foreach (VerifyCheck check in report.Checks)
        {
            string word = VerifyOutput.Word(check.Status);
            page.Append($"<tr><td>{Text(check.Name)}</td><td class=\"status {word}\">{word}</td><td class=\"number\">{Words.Duration(check.Duration)}</td><td class=\"seen\">{Text(check.Detail)}");
            if (check.Items.Count > 0)
            {
                page.Append($"<details{(check.Status is VerifyStatus.Failed or VerifyStatus.Warning ? " open" : "")}><summary>{Words.Count(check.Items.Count, "line")}</summary><ul>");
                foreach (string item in check.Items)
                {
                    page.Append($"<li>{Text(item)}</li>");
                }

                page.Append("</ul></details>");
            }

            page.Append("</td></tr>\n");
        }

        page.Append($"</tbody>\n</table>\n<p class=\"soft\" style=\"margin-top:2rem\">BackupIQ {Text(BackupIqRepository.Version)}</p>\n</body>\n</html>\n");
        return page.ToString();
    }

    private static string Verdict(VerifyStatus status) => status switch
    {
        VerifyStatus.Passed => "Passed",
        VerifyStatus.Warning => "Passed with warnings",
        _ => "Failed",
    };

    private static string Sentence(VerifyReport report)
    {
        int made = report.Checks.Count(static check => check.Status != VerifyStatus.Skipped);
        return string.Create(CultureInfo.InvariantCulture, $"{report.Checks.Count(static check => check.Status == VerifyStatus.Passed)} of {made} checks passed ({report.PassRate:0.0} %)");
    }

    private static string Level(VerifyReport report) => (report.Level, report.Snapshot is not null) switch
    {
        (VerifyLevel.Quick, true) => "quick: all is there; content was not read",
        (VerifyLevel.Standard, true) => "standard: all content was read and proven",
        (_, true) => "comprehensive: restored and looked at",
        (VerifyLevel.Quick, _) => "quick: tables were compared",
        (VerifyLevel.Standard, _) => "standard: tables, columns and numbers of rows were compared",
        _ => "comprehensive: everything was compared, every row among it",
    };

    private static void Fact(StringBuilder page, string name, string value) => page.Append($"<dt>{Text(name)}</dt><dd>{Text(value)}</dd>\n");

    private static string Text(string text) => WebUtility.HtmlEncode(DisplayText.Of(text));
}
