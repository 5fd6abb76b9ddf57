using System.Diagnostics.CodeAnalysis;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Kernel objects that are counted, and the names some of them have.</summary>
/// <remarks>
/// A counted object lies behind a header in guest memory, where Windows keeps OBJECT_HEADER (0x30 bytes): PointerCount at
/// 0x00, HandleCount at 0x08. Drivers never look at it.
/// </remarks>
public sealed class ObjectNamespace
{
    internal const ulong HeaderSize = 0x30;
    const uint Tag = 0x624F7049; // "IpOb"
    const ulong HeaderMark = 0x7463656A624F2020; // tells an object from memory that is none
    const ulong MarkOffset = 0x18;
    const int MaximumLinks = 32; // that one name may lead through: more are a circle

    // What exists on every system. Win32 names are links in \GLOBAL??, which has several names itself.
    static readonly string[] SystemDirectories =
        [@"\Device", @"\Driver", @"\FileSystem", @"\GLOBAL??", @"\BaseNamedObjects", @"\KernelObjects", @"\Callback", @"\ObjectTypes", @"\Security"];

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, KernelObject> objects = [];
    readonly KernelObject root;

    readonly Queue<ulong> deferredDeletions = [];
    readonly PWORK_QUEUE_ITEM deletionItem;

    internal ObjectNamespace(Machine machine)
    {
        this.machine = machine;
        deletionItem = new PWORK_QUEUE_ITEM(machine.Pool.Allocate(POOL_TYPE.NonPagedPool, WORK_QUEUE_ITEM.SizeOf, Tag, 0, zero: true));
        deletionItem.WorkerRoutine = machine.Code.Routine(new WORKER_THREAD_ROUTINE(DeleteDeferred));
        foreach (ObjectType type in Types.All) Announce(type);
        root = Find(Create(Types.Directory, OpaqueSize))!;
        root.Name = KernelObject.RootName;
        foreach (string name in SystemDirectories) SetName(Create(Types.Directory, OpaqueSize), name, NameLifetime.Permanent);
        foreach (string name in (ReadOnlySpan<string>)[@"\??", @"\DosDevices", @"\GLOBAL??\Global"]) CreateLink(name, @"\GLOBAL??");
    }

    /// <summary>Bytes of objects that drivers only have pointers to: directories and links.</summary>
    internal const ulong OpaqueSize = 0x20;

    /// <summary>The types of objects.</summary>
    public ObjectTypes Types { get; } = new();

    void Announce(ObjectType type)
    {
        var address = new POBJECT_TYPE(Create(Types.Type, OBJECT_TYPE.SizeOf));
        address.Name = machine.Strings.Constant(type.Name).Value;
        type.Object = address;
        if (type.Variable is { } variable) machine.Variables.DefineValue(variable, address);
    }

    // ---- Objects

    /// <summary>Allocates a zeroed counted object with one reference and no name; 0 when memory is short.</summary>
    internal ulong Create(ObjectType type, ulong size)
    {
        ulong block = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, HeaderSize + size, type.Tag, 0, zero: true);
        if (block != 0) Adopt(type, block + HeaderSize, ownsMemory: true);
        return block == 0 ? 0 : block + HeaderSize;
    }

    /// <summary>Makes memory a counted object with one reference. The <see cref="HeaderSize"/> bytes before it belong to the object.</summary>
    /// <param name="ownsMemory">Whether the block of pool is freed with the object.</param>
    internal void Adopt(ObjectType type, ulong address, bool ownsMemory)
    {
        var created = new KernelObject(address, type, ownsMemory)
        {
            Entries = type == Types.Directory ? new(StringComparer.OrdinalIgnoreCase) : null,
        };
        PointerCount(address) = 1;
        HandleCount(address) = 0;
        GuestMemory.Ref<ulong>(address - HeaderSize + MarkOffset) = HeaderMark;
        lock (gate) objects.Add(address, created);
    }

    /// <summary>What is known of the object at an address; null if there is none.</summary>
    internal KernelObject? Find(ulong address)
    {
        lock (gate) return objects.GetValueOrDefault(address);
    }

    /// <summary>The type of an object.</summary>
    /// <exception cref="BugCheckException">REFERENCE_BY_POINTER: there is no object.</exception>
    public ObjectType TypeOf(PVOID address) => Require(address).Type;

    internal KernelObject Require(PVOID address)
    {
        RequireObject(address);
        return Find(address.Address)!;
    }

    /// <summary>Counts a reference. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>The new count.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public nint ObfReferenceObject(PVOID Object)
    {
        RequireObject(Object);
        return (nint)Interlocked.Increment(ref PointerCount(Object.Address));
    }

    /// <summary>Counts a reference to an object that nothing keeps from being deleted; false if it is, or is about to be.</summary>
    internal bool TryReference(KernelObject target)
    {
        lock (gate)
        {
            // Its memory is there while it is in the table.
            if (objects.GetValueOrDefault(target.Address) != target) return false;
            ref long count = ref PointerCount(target.Address);
            for (long seen = Volatile.Read(ref count); seen > 0;)
            {
                long before = Interlocked.CompareExchange(ref count, seen + 1, seen);
                if (before == seen) return true;
                seen = before;
            }
            return false;
        }
    }

    /// <summary>Gives a reference back; the last one deletes the object. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>The new count.</returns>
    /// <exception cref="BugCheckException">REFERENCE_BY_POINTER when there was none.</exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public nint ObfDereferenceObject(PVOID Object)
    {
        RequireObject(Object);
        long count = Interlocked.Decrement(ref PointerCount(Object.Address));
        if (count < 0) BadReference(Object, "has no reference left to give back");
        if (count == 0) DeleteAtPassiveLevel(Object.Address);
        return (nint)count;
    }

    /// <summary>The header's name for <see cref="ObfReferenceObject"/>; old drivers import it. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public nint ObReferenceObject(PVOID Object) => ObfReferenceObject(Object);

    /// <summary>The header's name for <see cref="ObfDereferenceObject"/>; old drivers import it. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public nint ObDereferenceObject(PVOID Object) => ObfDereferenceObject(Object);

    /// <summary>Counts a reference to an object of a known type. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="ObjectType">May be null with KernelMode.</param>
    /// <returns>STATUS_OBJECT_TYPE_MISMATCH in user mode for an object of another type, and in any mode for a symbolic link.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS ObReferenceObjectByPointer(PVOID Object, uint DesiredAccess, POBJECT_TYPE ObjectType, MODE AccessMode)
    {
        ObjectType type = TypeOf(Object);
        if (type == Types.SymbolicLink || (type.Object != ObjectType && AccessMode != MODE.KernelMode)) return STATUS_OBJECT_TYPE_MISMATCH;
        ObfReferenceObject(Object);
        return STATUS_SUCCESS;
    }

    /// <summary>Counts references and handles as they are now, for reports.</summary>
    internal static (long Pointers, long Handles) CountsOf(ulong address) => (PointerCount(address), HandleCount(address));

    // ---- Handles

    /// <summary>A handle to an object comes into being; it holds a reference.</summary>
    /// <returns>STATUS_ACCESS_DENIED where an exclusive handle exists, or is wanted beside others.</returns>
    internal NTSTATUS HandleOpened(KernelObject target, bool exclusive = false)
    {
        ObfReferenceObject(new PVOID(target.Address));
        bool denied;
        lock (gate)
        {
            denied = target.IsExclusive || (exclusive && HandleCount(target.Address) != 0);
            if (!denied)
            {
                target.IsExclusive = exclusive;
                HandleCount(target.Address)++;
            }
        }
        if (denied) ObfDereferenceObject(new PVOID(target.Address));
        return denied ? STATUS_ACCESS_DENIED : STATUS_SUCCESS;
    }

    /// <summary>A handle is gone, and with the last one a name that only handles keep.</summary>
    internal void HandleClosed(KernelObject target)
    {
        bool isLast;
        lock (gate)
        {
            isLast = --HandleCount(target.Address) == 0;
            if (isLast)
            {
                target.IsExclusive = false;
                if (target.NameLifetime == NameLifetime.Handles) RemoveName(target);
            }
        }
        var address = new PVOID(target.Address);
        if (isLast) target.Type.Closed?.Invoke(address);
        ObfDereferenceObject(address);
    }

    // ---- Names

    /// <summary>Gives an object a name.</summary>
    /// <returns>STATUS_OBJECT_NAME_COLLISION, or what is wrong with the name.</returns>
    internal NTSTATUS SetName(ulong address, string name, NameLifetime lifetime, KernelObject? from = null)
    {
        lock (gate)
        {
            Place place = Walk(name, from, followLast: false);
            if (place.Object is not null) return place.Rest.Length > 0 ? STATUS_OBJECT_TYPE_MISMATCH : STATUS_OBJECT_NAME_COLLISION;
            if (place.Directory is null) return place.Status;
            KernelObject named = objects[address];
            place.Directory.Entries!.Add(place.Name, named);
            named.Directory = place.Directory;
            named.Name = place.Name;
            named.NameLifetime = lifetime;
            return STATUS_SUCCESS;
        }
    }

    /// <summary>Takes the name away, so that it can be given again; the object stays.</summary>
    internal void RemoveName(ulong address)
    {
        lock (gate)
        {
            if (objects.TryGetValue(address, out KernelObject? named)) RemoveName(named);
        }
    }

    static void RemoveName(KernelObject named)
    {
        named.Directory?.Entries!.Remove(named.Name);
        named.Directory = null;
    }

    /// <summary>Ends the permanence of an object: from now on it lives as long as its handles and references.</summary>
    internal void MakeTemporary(KernelObject target)
    {
        lock (gate)
        {
            if (target.NameLifetime != NameLifetime.Permanent || !target.IsNamed) return;
            target.NameLifetime = NameLifetime.Handles;
            if (HandleCount(target.Address) == 0) RemoveName(target);
        }
        ObfDereferenceObject(new PVOID(target.Address));
    }

    /// <summary>Creates a permanent symbolic link.</summary>
    internal NTSTATUS CreateLink(string name, string target)
    {
        ulong link = Create(Types.SymbolicLink, OpaqueSize);
        if (link == 0) return STATUS_INSUFFICIENT_RESOURCES;
        Find(link)!.Target = target;
        NTSTATUS status = SetName(link, name, NameLifetime.Permanent);
        if (status < 0) ObfDereferenceObject(new PVOID(link));
        return status;
    }

    /// <summary>Where a name leads.</summary>
    /// <param name="Status">STATUS_SUCCESS exactly when <paramref name="Object"/> is there.</param>
    /// <param name="Rest">What follows the name of an object that is no directory.</param>
    /// <param name="Directory">Where nothing was found: the directory in which <paramref name="Name"/> is missing, if all before it exists.</param>
    internal readonly record struct Place(NTSTATUS Status, KernelObject? Object, string Rest, KernelObject? Directory, string Name);

    /// <summary>Follows a name through directories and links.</summary>
    /// <param name="from">The directory that the name is relative to; null for names from the root.</param>
    /// <param name="followLast">Whether a link at the end of the name is followed too.</param>
    internal Place Look(string name, KernelObject? from = null, bool followLast = true)
    {
        lock (gate) return Walk(name, from, followLast);
    }

    Place Walk(string name, KernelObject? from, bool followLast)
    {
        bool isRelative = from is not null;
        if (name.StartsWith('\\') == isRelative) return Missing(STATUS_OBJECT_PATH_SYNTAX_BAD);
        if (name == KernelObject.RootName) return new Place(STATUS_SUCCESS, root, "", null, "");
        KernelObject at = from ?? root;
        int start = isRelative ? 0 : 1;
        for (int links = 0; links <= MaximumLinks;)
        {
            if (at.Entries is null) return new Place(STATUS_SUCCESS, at, name[(start - 1)..], null, "");
            int end = name.IndexOf('\\', start);
            bool isLast = end < 0;
            if (isLast) end = name.Length;
            string component = name[start..end];
            if (component.Length == 0) return Missing(STATUS_OBJECT_NAME_INVALID);
            if (!at.Entries.TryGetValue(component, out KernelObject? next))
                return isLast ? new Place(STATUS_OBJECT_NAME_NOT_FOUND, null, "", at, component) : Missing(STATUS_OBJECT_PATH_NOT_FOUND);
            if (next.Target is { } target && (followLast || !isLast))
            {
                links++;
                name = target + name[end..];
                at = root;
                start = 1;
                if (!name.StartsWith('\\')) return Missing(STATUS_OBJECT_PATH_SYNTAX_BAD);
                continue;
            }
            if (isLast) return new Place(STATUS_SUCCESS, next, "", null, "");
            at = next;
            start = end + 1;
        }
        return Missing(STATUS_OBJECT_PATH_NOT_FOUND);

        static Place Missing(NTSTATUS status) => new(status, null, "", null, "");
    }

    /// <summary>Finds the object a name leads to, following symbolic links; <paramref name="rest"/> is what follows the object's name.</summary>
    /// <param name="name">From the root, or a Win32 device name such as <c>\\.\Name</c>.</param>
    public bool TryFind(string name, out ulong address, out string rest)
    {
        Place place = LookForWin32(name);
        address = place.Object?.Address ?? 0;
        rest = place.Rest;
        return place.Object is not null;
    }

    internal Place LookForWin32(string name)
    {
        if (name.StartsWith(@"\\.\", StringComparison.Ordinal) || name.StartsWith(@"\\?\", StringComparison.Ordinal)) name = @"\??\" + name[4..];
        return Look(name);
    }

    /// <summary>The name of an object, or its address where it has none.</summary>
    public string NameOf(PVOID address) => TryGetName(address) ?? $"device {Format.Address(address.Address)}";

    /// <summary>The name of an object, as far as it has one.</summary>
    internal string? TryGetName(PVOID address)
    {
        KernelObject? named = Find(address.Address);
        if (named?.Type.NameOf is { } special) return special(address);
        lock (gate) return named?.FullName;
    }

    /// <summary>Names of all devices, in order.</summary>
    public IReadOnlyList<string> Names
    {
        get
        {
            lock (gate)
                return [.. objects.Values.Where(o => o.Type == Types.Device && o.IsNamed).Select(o => o.FullName!).Order(StringComparer.OrdinalIgnoreCase)];
        }
    }

    static ref long PointerCount(ulong address) => ref GuestMemory.Ref<long>(address - HeaderSize);

    static ref long HandleCount(ulong address) => ref GuestMemory.Ref<long>(address - HeaderSize + 8);

    void RequireObject(PVOID address)
    {
        if (GuestMemory.Ref<ulong>(address.Address - HeaderSize + MarkOffset) != HeaderMark) BadReference(address, "is not a kernel object, or was deleted");
    }

    [DoesNotReturn]
    void BadReference(PVOID address, string what) =>
        throw machine.BugChecks.Stop(BugCheckCode.REFERENCE_BY_POINTER, 0, address.Address, 0, 0, $"The object at {Format.Address(address.Address)} {what}.");

    // Deleting a file object sends IRP_MJ_CLOSE: that is left to a system thread when the last reference goes above PASSIVE_LEVEL.
    void DeleteAtPassiveLevel(ulong address)
    {
        bool isFirst;
        lock (gate)
        {
            bool deferred = machine.TryGetCurrentThread() is { Irql: > PASSIVE_LEVEL } && objects.GetValueOrDefault(address)?.Type.Deleting is not null;
            isFirst = deferred && deferredDeletions.Count == 0;
            if (deferred) deferredDeletions.Enqueue(address);
            if (deferred && !isFirst) return;
        }
        if (isFirst) machine.WorkItems.ExQueueWorkItem(deletionItem, WORK_QUEUE_TYPE.DelayedWorkQueue);
        else Delete(address);
    }

    void DeleteDeferred(PVOID parameter)
    {
        while (true)
        {
            ulong address;
            lock (gate)
            {
                if (!deferredDeletions.TryDequeue(out address)) return;
            }
            Delete(address);
        }
    }

    void Delete(ulong address)
    {
        KernelObject? deleted;
        lock (gate)
        {
            // A driver that handles IRP_MJ_CLOSE may count a reference once more and give it back.
            if (!objects.TryGetValue(address, out deleted) || deleted.IsDeleting) return;
            deleted.IsDeleting = true;
            RemoveName(deleted);
        }
        // Memory that is not ours is given back by its owner.
        if (!deleted.OwnsMemory) GuestMemory.Ref<ulong>(address - HeaderSize + MarkOffset) = 0;
        deleted.Type.Deleting?.Invoke(new PVOID(address));
        lock (gate) objects.Remove(address);
        // Whoever gets the memory next may make an object of it at once.
        if (!deleted.OwnsMemory)
        {
            deleted.Type.Deleted?.Invoke(new PVOID(address));
            return;
        }
        GuestMemory.Ref<ulong>(address - HeaderSize + MarkOffset) = 0;
        machine.Pool.Free(address - HeaderSize, deleted.Type.Tag);
    }
}
