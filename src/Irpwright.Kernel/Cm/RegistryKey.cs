namespace Irpwright.Kernel;

/// <summary>A value of a registry key.</summary>
/// <param name="Name">Empty for the default value.</param>
/// <param name="Type">REG_*.</param>
public sealed record RegistryValue(string Name, uint Type, byte[] Data);

/// <summary>A key of the registry, with what lies below it. Guarded by the registry's lock.</summary>
public sealed class RegistryKey
{
    readonly SortedDictionary<string, RegistryKey> subkeys = new(StringComparer.OrdinalIgnoreCase);
    readonly List<RegistryValue> values = [];

    readonly KeyNotifications notifications;

    internal RegistryKey(string name, RegistryKey? parent, KeyNotifications notifications)
    {
        Name = name;
        Parent = parent;
        this.notifications = notifications;
        Id = notifications.NextId();
    }

    /// <summary>Unlike that of any other key of the machine.</summary>
    internal ulong Id { get; }

    public string Name { get; private set; }

    /// <summary>Null for the root, and for a key that was deleted.</summary>
    public RegistryKey? Parent { get; private set; }

    /// <summary>Name from the root of the namespace: <c>\REGISTRY\MACHINE\...</c>.</summary>
    public string FullName => Parent is null ? $@"\{Name}" : $@"{Parent.FullName}\{Name}";

    /// <summary>The class string that the key was created with; null for none.</summary>
    public string? Class { get; internal set; }

    /// <summary>System time of the last change, 100 ns since 1601.</summary>
    public long LastWriteTime { get; internal set; }

    /// <summary>Gone when the system stops; so are all keys below it.</summary>
    public bool IsVolatile { get; internal init; }

    /// <summary>Handles to it are still open, and good for nothing but closing.</summary>
    public bool IsDeleted { get; private set; }

    /// <summary>Where a symbolic link leads; null for all other keys.</summary>
    public string? Target { get; internal set; }

    /// <summary>In the order of their names.</summary>
    public IReadOnlyCollection<RegistryKey> Subkeys => subkeys.Values;

    /// <summary>In the order of their creation.</summary>
    public IReadOnlyList<RegistryValue> Values => values;

    public RegistryKey? Subkey(string name) => subkeys.GetValueOrDefault(name);

    public RegistryValue? Value(string name) => values.Find(v => IsNamed(v, name));

    internal RegistryKey Add(string name, bool isVolatile, long now)
    {
        var created = new RegistryKey(name, this, notifications) { IsVolatile = isVolatile, LastWriteTime = now };
        subkeys.Add(name, created);
        LastWriteTime = now;
        notifications.Changed(this, REG_NOTIFY_CHANGE_NAME);
        return created;
    }

    /// <summary>Sets a value; one of the same name keeps its place.</summary>
    internal void Set(RegistryValue value, long now)
    {
        int index = values.FindIndex(v => IsNamed(v, value.Name));
        bool isNew = index < 0 || values[index].Type != value.Type || !values[index].Data.AsSpan().SequenceEqual(value.Data);
        if (index < 0) values.Add(value);
        else values[index] = value with { Name = values[index].Name };
        LastWriteTime = now;
        if (isNew) notifications.Changed(this, REG_NOTIFY_CHANGE_LAST_SET);
    }

    /// <returns>False if there is no such value.</returns>
    internal bool RemoveValue(string name, long now)
    {
        if (values.RemoveAll(v => IsNamed(v, name)) == 0) return false;
        LastWriteTime = now;
        notifications.Changed(this, REG_NOTIFY_CHANGE_LAST_SET);
        return true;
    }

    /// <summary>Takes the key out of the registry, with everything below it.</summary>
    internal void Delete(long now)
    {
        foreach (RegistryKey subkey in subkeys.Values.ToArray()) subkey.Delete(now);
        Parent!.subkeys.Remove(Name);
        Parent.LastWriteTime = now;
        notifications.Changed(Parent, REG_NOTIFY_CHANGE_NAME);
        Parent = null;
        IsDeleted = true;
        notifications.Deleted(this);
    }

    internal bool Rename(string name, long now)
    {
        if (Parent!.subkeys.TryGetValue(name, out RegistryKey? other) && other != this) return false;
        Parent.subkeys.Remove(Name);
        Name = name;
        Parent.subkeys.Add(name, this);
        Parent.LastWriteTime = LastWriteTime = now;
        notifications.Changed(Parent, REG_NOTIFY_CHANGE_NAME);
        return true;
    }

    static bool IsNamed(RegistryValue value, string name) => value.Name.Equals(name, StringComparison.OrdinalIgnoreCase);

    public override string ToString() => FullName;
}
