namespace BackupIQ.Engine.Restore;

/// <summary>Finishes directories when the last thing in them is done, the deepest first. Thread-safe.</summary>
internal sealed class DirectoryFinisher(IRestoreTarget target, RestoreProgress progress)
{
    /// <summary>One thing in the directory is done with, whatever came of it.</summary>
    public void Done(PlannedDirectory directory)
    {
        for (PlannedDirectory? at = directory; at is not null && at.Release(); at = at.Parent)
        {
            if (at.IsReady && !at.HasFailed)
            {
                Finish(at);
            }
        }
    }

    private void Finish(PlannedDirectory directory)
    {
        bool isRoot = directory.Parent is null;
        RestoreAction action = directory.IsEmpty ? RestoreAction.Restored : RestoreAction.Unchanged;
        if (directory.Target is { } made)
        {
            try
            {
                if (directory.Metadata is { } metadata)
                {
                    progress.Lose(target.FinishDirectory(made, metadata), () => directory.Path());
                }
                else
                {
                    target.LeaveDirectory(made);
                }
            }
            catch (RestoreItemException e) when (!e.EndsRun)
            {
                progress.Fail(e.Code, directory.Path(), e.Message);
                return;
            }
        }

        if (!isRoot)
        {
            progress.Count(action);
            if (progress.WantsItems)
            {
                progress.Tell(action, directory.Path(), 0);
            }
        }
    }
}
