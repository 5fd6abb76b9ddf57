using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The registry of a machine: keys in memory, empty at first but for what every system has.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/registry-key-object-routines"/>
public sealed class Registry
{
    const string RootName = "REGISTRY";
    const int MaximumLinks = 32; // as for object names
    const int LongestName = 255; // characters of a key's name

    static readonly string[] SystemKeys =
    [
        @"\Registry\Machine\Hardware\DeviceMap", @"\Registry\Machine\Software\Microsoft\Windows NT\CurrentVersion",
        @"\Registry\Machine\System\ControlSet001\Control\Class", @"\Registry\Machine\System\ControlSet001\Control\DeviceClasses",
        @"\Registry\Machine\System\ControlSet001\Enum", @"\Registry\Machine\System\ControlSet001\Services", @"\Registry\User\.Default",
    ];

    readonly Machine machine;
    readonly Dictionary<ulong, RegistryKey> bodies = [];

    internal Registry(Machine machine)
    {
        this.machine = machine;
        Root = new RegistryKey(RootName, null, machine.KeyNotifications);
        foreach (string name in SystemKeys) Create(name);
        Create(@"\Registry\Machine\System").Add("CurrentControlSet", false, 0).Target = @"\Registry\Machine\System\ControlSet001";
        ObjectType type = machine.Objects.Types.Key;
        type.NameOf = body => KeyOf(body.Address)?.FullName;
        type.Deleting = body =>
        {
            lock (Gate) bodies.Remove(body.Address);
            machine.KeyNotifications.Closed(body.Address);
        };
        machine.Objects.SetName(NewBody(Root), $@"\{RootName}", NameLifetime.Permanent);
    }

    /// <summary>The key <c>\REGISTRY</c>.</summary>
    public RegistryKey Root { get; }

    /// <summary>Guards all keys.</summary>
    internal Lock Gate { get; } = new();

    /// <summary>The key with a name such as <c>\Registry\Machine\System\CurrentControlSet\Services</c>; null if there is none.</summary>
    public RegistryKey? Find(string path)
    {
        lock (Gate) return FromRoot(path) is { } rest && Walk(Root, rest, followLast: true, out RegistryKey? found, out _, out _) >= 0 ? found : null;
    }

    /// <summary>The key with a name from the root of the namespace; it and the keys above it are created where they are missing.</summary>
    /// <exception cref="ArgumentException">The name does not begin with <c>\Registry</c>.</exception>
    public RegistryKey Create(string path)
    {
        lock (Gate)
        {
            string rest = FromRoot(path) ?? throw new ArgumentException($@"{path} is no name of a key: those begin with \Registry.", nameof(path));
            RegistryKey at = Root;
            foreach (string name in rest.Split('\\', StringSplitOptions.RemoveEmptyEntries))
            {
                RegistryKey next = at.Subkey(name) ?? at.Add(name, at.IsVolatile, machine.Time.Now);
                at = next.Target is { } target ? Create(target) : next;
            }
            return at;
        }
    }

    /// <summary>Sets a value.</summary>
    /// <param name="type">REG_*.</param>
    public void SetValue(RegistryKey key, string name, uint type, ReadOnlySpan<byte> data)
    {
        lock (Gate) key.Set(new RegistryValue(name, type, data.ToArray()), machine.Time.Now);
    }

    /// <summary>Sets a REG_SZ value.</summary>
    public void SetValue(RegistryKey key, string name, string text) => SetValue(key, name, REG_SZ, MemoryMarshal.AsBytes((text + '\0').AsSpan()));

    /// <summary>Sets a REG_DWORD value.</summary>
    public void SetValue(RegistryKey key, string name, uint number) => SetValue(key, name, REG_DWORD, MemoryMarshal.AsBytes([number]));

    /// <summary>Removes a value, if it is there.</summary>
    public void RemoveValue(RegistryKey key, string name)
    {
        lock (Gate) key.RemoveValue(name, machine.Time.Now);
    }

    /// <summary>Removes a key and everything below it.</summary>
    public void Delete(RegistryKey key)
    {
        lock (Gate)
        {
            if (!key.IsDeleted && key.Parent is not null) key.Delete(machine.Time.Now);
        }
    }

    static string? FromRoot(string path)
    {
        const string prefix = $@"\{RootName}";
        bool begins = path.StartsWith(prefix, StringComparison.OrdinalIgnoreCase) && (path.Length == prefix.Length || path[prefix.Length] == '\\');
        return begins ? path[prefix.Length..] : null;
    }

    /// <summary>Follows a name from a key through subkeys and links.</summary>
    /// <param name="parent">Where only the last name is missing: the key that it would be created in.</param>
    NTSTATUS Walk(RegistryKey from, string path, bool followLast, out RegistryKey? found, out RegistryKey? parent, out string missing)
    {
        (found, parent, missing) = (null, null, "");
        RegistryKey at = from;
        string[] names = path.Split('\\', StringSplitOptions.RemoveEmptyEntries);
        int links = 0;
        for (int i = 0; i < names.Length; i++)
        {
            bool isLast = i == names.Length - 1;
            if (names[i].Length > LongestName) return STATUS_INVALID_PARAMETER;
            if (at.Subkey(names[i]) is not { } next)
            {
                if (isLast) (parent, missing) = (at, names[i]);
                return STATUS_OBJECT_NAME_NOT_FOUND;
            }
            if (next.Target is { } target && (followLast || !isLast))
            {
                if (++links > MaximumLinks || FromRoot(target) is not { } rest) return STATUS_OBJECT_NAME_NOT_FOUND;
                names = [.. rest.Split('\\', StringSplitOptions.RemoveEmptyEntries), .. names[(i + 1)..]];
                at = Root;
                i = -1;
                continue;
            }
            at = next;
        }
        found = at;
        return STATUS_SUCCESS;
    }

    // ---- Key objects: what handles stand for

    ulong NewBody(RegistryKey key)
    {
        ulong body = machine.Objects.Create(machine.Objects.Types.Key, ObjectNamespace.OpaqueSize);
        if (body == 0) return 0;
        lock (Gate) bodies.Add(body, key);
        return body;
    }

    /// <summary>The key that a key object stands for.</summary>
    internal RegistryKey? KeyOf(ulong body)
    {
        lock (Gate) return bodies.GetValueOrDefault(body);
    }

    /// <summary>The key behind a handle of a caller in kernel mode.</summary>
    /// <returns>STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH, STATUS_KEY_DELETED.</returns>
    internal NTSTATUS Find(HANDLE handle, out RegistryKey key) => Find(handle, out key, out _);

    /// <param name="body">The key object.</param>
    /// <inheritdoc cref="Find(HANDLE, out RegistryKey)"/>
    internal NTSTATUS Find(HANDLE handle, out RegistryKey key, out ulong body)
    {
        key = Root;
        body = 0;
        NTSTATUS status = machine.Handles.Find(handle, 0, machine.Objects.Types.Key, MODE.KernelMode, out HandleEntry? entry);
        if (status < 0) return status;
        body = entry!.Object.Address;
        key = KeyOf(body)!;
        return key.IsDeleted ? STATUS_KEY_DELETED : STATUS_SUCCESS;
    }

    internal NTSTATUS Open(RegistryKey key, uint access, OBJ_FLAGS flags, out HANDLE handle)
    {
        handle = default;
        ulong body = NewBody(key);
        if (body == 0) return STATUS_INSUFFICIENT_RESOURCES;
        NTSTATUS status = machine.Handles.Open(machine.Objects.Find(body)!, access, flags, out handle);
        machine.Objects.ObfDereferenceObject(new PVOID(body));
        return status;
    }

    /// <summary>Opens the key that attributes name, or creates it if only its last name is missing.</summary>
    /// <param name="create">Makes the new key in its parent; null to open only.</param>
    internal NTSTATUS Open(POBJECT_ATTRIBUTES attributes, uint access, Func<RegistryKey, string, (NTSTATUS, RegistryKey?)>? create, out HANDLE handle, out bool created)
    {
        handle = default;
        created = false;
        if (attributes.IsNull) return STATUS_INVALID_PARAMETER;
        NTSTATUS status = ObjectAttributes.Read(machine, attributes, out ObjectAttributes wanted);
        if (status < 0) return status;
        status = Begin(wanted, out RegistryKey? from, out string path);
        if (status < 0) return status;
        RegistryKey? key;
        lock (Gate)
        {
            if (from!.IsDeleted) return STATUS_KEY_DELETED;
            status = Walk(from, path, (wanted.Flags & OBJ_OPENLINK) == 0, out key, out RegistryKey? parent, out string missing);
            if (status < 0 && parent is not null && create is not null)
            {
                (status, key) = create(parent, missing);
                created = status >= 0;
            }
        }
        return status < 0 ? status : Open(key!, access, wanted.Flags, out handle);
    }

    NTSTATUS Begin(in ObjectAttributes wanted, out RegistryKey? from, out string path)
    {
        KernelObject? start = wanted.Root;
        path = wanted.Name ?? "";
        if (start?.Type != machine.Objects.Types.Key)
        {
            ObjectNamespace.Place place = machine.Objects.Look(path, start);
            (start, path) = (place.Object, place.Rest);
            if (start is not null && start.Type != machine.Objects.Types.Key) start = null;
            from = null;
            if (start is null) return place.Object is null ? place.Status : STATUS_OBJECT_TYPE_MISMATCH;
        }
        else if (path.StartsWith('\\'))
        {
            from = null;
            return STATUS_OBJECT_PATH_SYNTAX_BAD;
        }
        from = KeyOf(start.Address);
        return STATUS_SUCCESS;
    }
}
