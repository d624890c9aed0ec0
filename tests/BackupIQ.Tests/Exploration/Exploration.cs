namespace BackupIQ.Tests.Exploration;

/// <summary>How far an exploration goes.</summary>
internal sealed record Bounds
{
    /// <summary>How often an actor that could go on is stopped so that another may.</summary>
    public int Preemptions { get; init; } = 2;

    /// <summary>How many puts have their effect while their answer is lost.</summary>
    public int LostAnswers { get; init; }

    /// <summary>How many actors stop for ever, between any two of their steps.</summary>
    public int Crashes { get; init; }

    /// <summary>How many puts listings show only when the declared lag is over.</summary>
    public int LatePuts { get; init; }

    /// <summary>Whether reads of objects whose names are known are steps of their own; else they come with the step before.</summary>
    public bool ReadsAreSteps { get; init; }

    public int MaxExecutions { get; init; } = int.MaxValue;

    public TimeSpan MaxTime { get; init; } = TimeSpan.MaxValue;
}

/// <summary>What an exploration came to.</summary>
/// <param name="Executions">Runs, each with another order of steps.</param>
/// <param name="Interleavings">Orders of steps that these stand for: those that lead through states met before are counted, not run again.</param>
/// <param name="States">Different states of the storage and of what every actor has seen.</param>
/// <param name="Steps">Steps of all runs.</param>
/// <param name="IsWhole">Everything within the bounds was run.</param>
/// <param name="Violation">The first run that broke the promise, step by step; null: none did.</param>
internal sealed record ExplorationResult(int Executions, double Interleavings, int States, long Steps, bool IsWhole, string? Violation);

/// <summary>What an actor may do at a step.</summary>
internal enum Variant
{
    /// <summary>The step itself.</summary>
    Plain,

    /// <summary>A put has its effect and its answer is lost; whoever put it tries again.</summary>
    LostAndTriedAgain,

    /// <summary>A put has its effect and its answer is lost; whoever put it gives up.</summary>
    LostAndGivenUp,

    /// <summary>A put is not in listings yet.</summary>
    Late,

    /// <summary>The actor stops for ever, before this step.</summary>
    Crash,
}

/// <summary>
/// Runs a scenario again and again, each time with another order of the steps of its actors, depth first: every order within the bounds, but
/// those that lead to a state which was met before. The actors run real code on threads of their own; at each step (a call of the storage)
/// they stop, and one is chosen to go on. What an actor does depends on nothing but the answers that it got, so a state is what the storage
/// holds and what each actor has seen.
/// </summary>
internal sealed class Explorer(Scenario scenario, Bounds bounds)
{
    private readonly List<Node> _path = [];
    private readonly Dictionary<(ulong State, int Budget), double> _seen = [];
    private readonly List<Choice> _options = [];
    private double _merged;
    private double _counted;

    public ExplorationResult Run()
    {
        long started = System.Diagnostics.Stopwatch.GetTimestamp();
        int executions = 0;
        long steps = 0;
        using Stage stage = new(scenario, bounds.ReadsAreSteps);
        while (true)
        {
            _merged = 1;
            Execution execution = stage.Begin(Choose);
            execution.Run();
            executions++;
            Count(_merged);
            steps += execution.StepCount;
            if (execution.Violation is { } violation)
            {
                return new ExplorationResult(executions, Interleavings, _seen.Count, steps, false, $"{violation}\n{execution.Trace}");
            }

            if (!Backtrack())
            {
                return new ExplorationResult(executions, Interleavings, _seen.Count, steps, true, null);
            }

            if (executions >= bounds.MaxExecutions || System.Diagnostics.Stopwatch.GetElapsedTime(started) >= bounds.MaxTime)
            {
                return new ExplorationResult(executions, Interleavings, _seen.Count, steps, false, null);
            }
        }
    }

    private bool Backtrack()
    {
        while (_path.Count > 0)
        {
            Node last = _path[^1];
            if (last.Chosen + 1 < last.Choices.Length)
            {
                _path[^1] = last with { Chosen = last.Chosen + 1 };
                return true;
            }

            _path.RemoveAt(_path.Count - 1);
            _seen[last.Key] = last.Orders;
            Count(last.Orders);
        }

        return false;
    }

    private double Interleavings => _path.Sum(static n => n.Orders) + _counted;

    private void Count(double orders)
    {
        if (_path.Count == 0)
        {
            _counted += orders;
        }
        else
        {
            _path[^1] = _path[^1] with { Orders = _path[^1].Orders + orders };
        }
    }

    // Null ends the run: from here everything was seen before.
    private Choice? Choose(Execution execution)
    {
        Offer(execution);
        int depth = execution.Depth++;
        if (_options.Count > 1 && depth < _path.Count)
        {
            return _path[depth].Choices[_path[depth].Chosen];
        }

        if (_options.Count == 1)
        {
            execution.Depth--;
            return _options[0];
        }

        (ulong, int) key = (execution.StateHash, execution.Spent);
        if (_seen.TryGetValue(key, out double orders))
        {
            execution.Depth--;
            _merged = orders;
            return null;
        }

        _path.Add(new Node(key, [.. _options], 0, 0));
        return _options[0];
    }

    private void Offer(Execution execution)
    {
        _options.Clear();
        Actor? current = execution.Current is { IsEnabled: true } going ? going : null;
        if (current is not null)
        {
            Offer(execution, current, 0);
        }

        bool maySwitch = current is null || execution.Preemptions < bounds.Preemptions;
        foreach (Actor actor in execution.Actors)
        {
            if (maySwitch && actor.IsEnabled && actor != current)
            {
                Offer(execution, actor, current is null ? 0 : 1);
            }
        }
    }

    private void Offer(Execution execution, Actor actor, int preemption)
    {
        _options.Add(new Choice(actor.Index, Variant.Plain, preemption));
        if (actor.IsAtPut && execution.LostAnswers < bounds.LostAnswers)
        {
            _options.Add(new Choice(actor.Index, Variant.LostAndTriedAgain, preemption));
            _options.Add(new Choice(actor.Index, Variant.LostAndGivenUp, preemption));
        }

        if (actor.IsAtPut && execution.LatePuts < bounds.LatePuts)
        {
            _options.Add(new Choice(actor.Index, Variant.Late, preemption));
        }

        if (preemption == 0 && execution.Crashes < bounds.Crashes)
        {
            _options.Add(new Choice(actor.Index, Variant.Crash, preemption));
        }
    }

    private readonly record struct Node((ulong State, int Budget) Key, Choice[] Choices, int Chosen, double Orders);
}

/// <summary>
/// Runs a scenario in orders that are drawn at random, from a seed: any number of preemptions, for what lies beyond the bounds of an
/// <see cref="Explorer"/>. Each run goes to its end; now and then what it leaves is pruned and looked at.
/// </summary>
internal sealed class Wanderer(Scenario scenario, Bounds bounds, int seed)
{
    private const int CleanUpEvery = 16;

    private readonly HashSet<ulong> _orders = [];
    private readonly List<Choice> _options = [];
    private Random _random = new(seed);
    private ulong _order;

    public ExplorationResult Run()
    {
        long started = System.Diagnostics.Stopwatch.GetTimestamp();
        long steps = 0;
        using Stage stage = new(scenario, bounds.ReadsAreSteps);
        for (int run = 1; run <= bounds.MaxExecutions && System.Diagnostics.Stopwatch.GetElapsedTime(started) < bounds.MaxTime; run++)
        {
            _random = new Random(unchecked((seed * 31) + (run * 1_000_003)));
            _order = 0;
            Execution execution = stage.Begin(Choose);
            execution.Run();
            _orders.Add(_order);
            steps += execution.StepCount;
            string? violation = execution.Violation ?? stage.Betrayed(execution) ?? (run % CleanUpEvery == 0 ? stage.CleanUp(execution) : null);
            if (violation is not null)
            {
                return new ExplorationResult(_orders.Count, _orders.Count, 0, steps, false, $"{violation}\n{execution.Trace}");
            }
        }

        return new ExplorationResult(_orders.Count, _orders.Count, 0, steps, false, null);
    }

    // Actors go on for some steps before another does: orders in which all change places at every step are many and alike.
    private Choice? Choose(Execution execution)
    {
        _options.Clear();
        foreach (Actor actor in execution.Actors)
        {
            if (actor.IsEnabled)
            {
                _options.Add(new Choice(actor.Index, Variant.Plain, 0));
            }
        }

        bool stays = execution.Current is { IsEnabled: true } && _random.Next(6) != 0;
        Choice chosen = stays ? new Choice(execution.Current!.Index, Variant.Plain, 0) : _options[_random.Next(_options.Count)];
        chosen = chosen with { Variant = Vary(execution, execution.Actors[chosen.Actor]) };
        _order = ExploredStore.Mix(_order, (ulong)chosen.Actor + ((ulong)chosen.Variant << 8));
        return chosen;
    }

    private Variant Vary(Execution execution, Actor actor) => _random.Next(40) switch
    {
        0 when actor.IsAtPut && execution.LostAnswers < bounds.LostAnswers => Variant.LostAndTriedAgain,
        1 when actor.IsAtPut && execution.LostAnswers < bounds.LostAnswers => Variant.LostAndGivenUp,
        2 when execution.Crashes < bounds.Crashes => Variant.Crash,
        < 8 when actor.IsAtPut && execution.LatePuts < bounds.LatePuts => Variant.Late,
        _ => Variant.Plain,
    };
}

/// <summary>Which actor goes on, how, and whether another had to stop for it.</summary>
internal readonly record struct Choice(int Actor, Variant Variant, int Preemption);
