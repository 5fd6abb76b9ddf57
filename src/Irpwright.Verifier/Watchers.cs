namespace Irpwright.Verification;

// A call through a delegate takes a third of one through an interface that so many classes implement.
delegate void Watch<TEvent>(in TEvent e) where TEvent : struct, allows ref struct;

/// <summary>The rules that watch one kind of event, sorted by situation when one first arises.</summary>
sealed class Watchers<TEvent> where TEvent : struct, allows ref struct
{
    readonly (Watch<TEvent> Watch, Situation When)[] all;
    // What rules of this event ask for.
    readonly Situation asked;
    (Situation Situation, Watch<TEvent>[] Chosen)[] known = [];

    /// <param name="rules">By their numbers in the catalogue; null for those that are not watched for.</param>
    internal Watchers(Rule?[] rules)
    {
        all = [.. RuleCatalog.Watching<TEvent>.Rules.Select(number => rules[number]).OfType<IWatch<TEvent>>()
            .Select(rule => (new Watch<TEvent>(rule.On), rule.When))];
        foreach ((_, Situation when) in all) asked |= when;
    }

    internal bool IsEmpty => all.Length == 0;

    /// <summary>Those whose situation it is, in the order of the rules.</summary>
    internal Watch<TEvent>[] In(Situation situation)
    {
        situation &= asked;
        foreach ((Situation other, Watch<TEvent>[] chosen) in known)
        {
            if (other == situation) return chosen;
        }
        return Choose(situation);
    }

    Watch<TEvent>[] Choose(Situation situation)
    {
        Watch<TEvent>[] chosen = [.. all.Where(watcher => (watcher.When & ~situation) == 0).Select(watcher => watcher.Watch)];
        known = [.. known, (situation, chosen)];
        return chosen;
    }
}
