using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Storage;

namespace BackupIQ.Tests.Exploration;

/// <summary>Ends an actor in the middle of a step: the run is over. Nothing of the product catches it.</summary>
#pragma warning disable CA1064, MA0055 // Thrown and caught here only.
internal sealed class StageClosedException : Exception;
#pragma warning restore CA1064, MA0055

/// <summary>Wakes one who waits. Does not spin: where every core is busy that would only keep the others from going on.</summary>
internal sealed class Baton
{
    private readonly object _gate = new();
    private int _count;

    public void Release()
    {
        lock (_gate)
        {
            _count++;
            Monitor.Pulse(_gate);
        }
    }

    public void Wait()
    {
        lock (_gate)
        {
            while (_count == 0)
            {
                Monitor.Wait(_gate);
            }

            _count--;
        }
    }
}

/// <summary>Somebody who acts: a thread, and where it stands.</summary>
internal sealed class Actor(int index, string name)
{
    public int Index { get; } = index;

    public string Name { get; } = name;

    /// <summary>Released when its work begins.</summary>
    public Baton Begin { get; } = new();

    /// <summary>Released when it is its turn.</summary>
    public Baton Go { get; } = new();

    public bool IsOver { get; set; }

    public bool IsStopped { get; set; }

    public bool IsEnabled => !IsOver && !IsStopped;

    public bool IsAtPut { get; set; }

    public Variant Variant { get; set; }

    /// <summary>Of all answers that it got, in order.</summary>
    public ulong History { get; set; }

    public void Reset()
    {
        IsOver = IsStopped = IsAtPut = false;
        Variant = Variant.Plain;
        History = 0;
    }
}

/// <summary>
/// One run: exactly one actor is going at any time; the others stand before a step. Who arrives at a step asks who is to go on, and wakes
/// that one.
/// </summary>
internal sealed class Execution(Actor[] actors, ExploredStore store, Func<Execution, Choice?> choose, Func<ExploredStore, string?> check)
{
    private readonly List<(int Actor, Variant Variant, Func<string> Step)> _steps = [];
    private readonly Baton _done = new();
    private bool _isStarting = true;
    private bool _isClosed;

    public Actor[] Actors => actors;

    public ExploredStore Store => store;

    public Actor? Current { get; private set; }

    public int Depth { get; set; }

    public int StepCount => _steps.Count;

    public int Preemptions { get; private set; }

    public int LostAnswers { get; private set; }

    public int LatePuts { get; private set; }

    public int Crashes { get; private set; }

    public string? Violation { get; private set; }

    public int Spent => (Preemptions << 12) | (LostAnswers << 8) | (LatePuts << 4) | Crashes;

    public bool IsClosed => _isClosed;

    public ulong StateHash
    {
        get
        {
            ulong hash = ExploredStore.Mix(store.Hash, (ulong)(Current?.Index ?? -1));
            foreach (Actor actor in actors)
            {
                hash = ExploredStore.Mix(hash, actor.History + (actor.IsOver ? 1u : 0u) + (actor.IsStopped ? 2u : 0u));
            }

            return hash;
        }
    }

    public string Trace
    {
        get
        {
            StringBuilder text = new();
            int last = -1;
            foreach ((int actor, Variant variant, Func<string> step) in _steps)
            {
                text.Append(last == actor ? "" : $"{actors[actor].Name}\n").Append($"    {(variant == Variant.Plain ? "" : variant + ": ")}{step()}\n");
                last = actor;
            }

            return text.ToString();
        }
    }

    /// <summary>Runs to the end. When this returns no actor goes any more.</summary>
    public void Run()
    {
        // Everybody goes to the first step and stands there.
        foreach (Actor actor in actors)
        {
            actor.Begin.Release();
            _done.Wait();
        }

        _isStarting = false;
        Pass(null);
        _done.Wait();
        _isClosed = true;
        foreach (Actor actor in actors.Where(static a => !a.IsOver))
        {
            actor.Go.Release();
            _done.Wait();
        }
    }

    /// <summary>A step of an actor: waits for its turn, then does <paramref name="effect"/>.</summary>
    public T Step<T>(Actor actor, bool isPut, Func<string> name, Func<Variant, (T Result, ulong Hash)> effect)
    {
        if (_isClosed)
        {
            return effect(Variant.Plain).Result;
        }

        Enter(actor, isPut);
        if (_isClosed)
        {
            return effect(Variant.Plain).Result;
        }

        (T result, ulong hash) = effect(actor.Variant);
        _steps.Add((actor.Index, actor.Variant, name));
        actor.History = ExploredStore.Mix(ExploredStore.Mix(actor.History, hash), (ulong)actor.Variant + 1);
        if (store.HasBecomeDoubtful())
        {
            Violation ??= check(store);
        }

        return actor.Variant switch
        {
            Variant.LostAndTriedAgain => Step(actor, isPut, name, effect),
            Variant.LostAndGivenUp => throw new StorageException(ErrorCodes.StorageConnection, "The answer was lost."),
            _ => result,
        };
    }

    /// <summary>A call that is no step of its own: what it answers is part of what the actor has seen.</summary>
    public void Note(Actor actor, ulong hash)
    {
        actor.History = ExploredStore.Mix(actor.History, hash);
    }

    /// <summary>The actor's work is done.</summary>
    public void Leave(Actor actor)
    {
        actor.IsOver = true;
        if (_isClosed || _isStarting)
        {
            _done.Release();
        }
        else
        {
            Pass(actor);
        }
    }

    public void Fail(Actor actor, Exception failure)
    {
        Violation ??= $"{actor.Name} failed: {failure}";
    }

    private void Enter(Actor actor, bool isPut)
    {
        actor.IsAtPut = isPut;
        if (_isStarting)
        {
            _done.Release();
            actor.Go.Wait();
        }
        else if (Pass(actor) != actor)
        {
            actor.Go.Wait();
        }
    }

    // Decides who goes on, and wakes it unless it is the one that asks. Null: nobody.
    private Actor? Pass(Actor? asking)
    {
        while (true)
        {
            Choice? choice = Violation is null && Array.Exists(actors, static a => a.IsEnabled) ? choose(this) : null;
            if (choice is not { } chosen)
            {
                _done.Release();
                return null;
            }

            Actor next = actors[chosen.Actor];
            Preemptions += chosen.Preemption;
            LostAnswers += chosen.Variant is Variant.LostAndTriedAgain or Variant.LostAndGivenUp ? 1 : 0;
            LatePuts += chosen.Variant == Variant.Late ? 1 : 0;
            Current = next;
            if (chosen.Variant == Variant.Crash)
            {
                Crashes++;
                next.IsStopped = true;
                _steps.Add((next.Index, Variant.Crash, static () => "stops for ever"));
                continue;
            }

            next.Variant = chosen.Variant;
            if (next != asking)
            {
                next.Go.Release();
            }

            return next;
        }
    }
}
