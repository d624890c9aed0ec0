namespace BackupIQ.Jobs.Postgres.Recovery;

/// <summary>How a target is reached: proven, record by record, before anything is written.</summary>
/// <param name="Base">From which backup.</param>
/// <param name="Aim">What was asked for.</param>
/// <param name="Segments">The log that the server needs, by the names under which it asks for it.</param>
/// <param name="Stop">Where it stops; null: as soon as it is consistent.</param>
/// <param name="Timeline">The timeline of that place.</param>
/// <param name="State">What it has replayed then.</param>
/// <param name="FirstAfter">The first commit that it has not; null: there is none in what is stored.</param>
/// <param name="IsEndOfLog">Nothing follows that is stored.</param>
/// <param name="Notes">What should be known: sentences.</param>
internal sealed record RecoveryPlan(
    RecoveryBase Base,
    RecoveryAim Aim,
    IReadOnlyList<RecoverySegment> Segments,
    RecoveryStop? Stop,
    uint Timeline,
    RecoveryState State,
    RecoveryTransaction? FirstAfter,
    bool IsEndOfLog,
    IReadOnlyList<string> Notes);
