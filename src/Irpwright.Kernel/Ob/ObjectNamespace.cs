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

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, ObjectInformation> objects = [];
    readonly Dictionary<string, ulong> names = new(StringComparer.OrdinalIgnoreCase);
    readonly Dictionary<string, string> symbolicLinks = new(StringComparer.OrdinalIgnoreCase);

    readonly Queue<ulong> deferredDeletions = [];
    readonly PWORK_QUEUE_ITEM deletionItem;

    internal ObjectNamespace(Machine machine)
    {
        this.machine = machine;
        deletionItem = new PWORK_QUEUE_ITEM(machine.Pool.Allocate(POOL_TYPE.NonPagedPool, WORK_QUEUE_ITEM.SizeOf, Tag, 0, zero: true));
        deletionItem.WorkerRoutine = machine.Code.Routine(new WORKER_THREAD_ROUTINE(DeleteDeferred));
    }

    sealed record ObjectInformation(string? Name, uint Tag, Action? Delete);

    /// <summary>Allocates a counted object with one reference; null address when memory is short.</summary>
    /// <param name="delete">Called when the last reference goes, before the memory does.</param>
    internal ulong Create(ulong size, uint tag, string? name, Action? delete)
    {
        ulong block = machine.Pool.Allocate(POOL_TYPE.NonPagedPool, HeaderSize + size, tag, 0);
        if (block == 0) return 0;
        GuestMemory.Write(block, (int)(HeaderSize + size)).Clear();
        ulong address = block + HeaderSize;
        PointerCount(address) = 1;
        GuestMemory.Ref<ulong>(block + MarkOffset) = HeaderMark;
        lock (gate)
        {
            objects.Add(address, new ObjectInformation(name, tag, delete));
            if (name is not null) names.Add(name, address);
        }
        return address;
    }

    /// <summary>Takes the name away, so that it can be given again; the object stays.</summary>
    internal void RemoveName(ulong address)
    {
        lock (gate)
        {
            if (objects.TryGetValue(address, out ObjectInformation? information) && information.Name is { } name) names.Remove(name);
        }
    }

    /// <summary>Counts a reference. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>The new count.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public nint ObfReferenceObject(PVOID Object)
    {
        RequireObject(Object);
        return (nint)Interlocked.Increment(ref PointerCount(Object.Address));
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

    /// <summary>The header's name for <see cref="ObfReferenceObject"/>.</summary>
    [WdkInline]
    public void ObReferenceObject(PVOID Object) => ObfReferenceObject(Object);

    /// <summary>The header's name for <see cref="ObfDereferenceObject"/>.</summary>
    [WdkInline]
    public void ObDereferenceObject(PVOID Object) => ObfDereferenceObject(Object);

    /// <summary>Creates a symbolic link from one object name to another. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoCreateSymbolicLink(PUNICODE_STRING SymbolicLinkName, PUNICODE_STRING DeviceName)
    {
        string link = Canonical(Strings.Read(SymbolicLinkName));
        string target = Strings.Read(DeviceName);
        lock (gate)
        {
            if (names.ContainsKey(link) || !symbolicLinks.TryAdd(link, target)) return NTSTATUS.STATUS_OBJECT_NAME_COLLISION;
        }
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>The same without access check on the link. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoCreateUnprotectedSymbolicLink(PUNICODE_STRING SymbolicLinkName, PUNICODE_STRING DeviceName) =>
        IoCreateSymbolicLink(SymbolicLinkName, DeviceName);

    /// <summary>Removes a symbolic link. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoDeleteSymbolicLink(PUNICODE_STRING SymbolicLinkName)
    {
        lock (gate)
            return symbolicLinks.Remove(Canonical(Strings.Read(SymbolicLinkName))) ? NTSTATUS.STATUS_SUCCESS : NTSTATUS.STATUS_OBJECT_NAME_NOT_FOUND;
    }

    /// <summary>Finds the object a name leads to, following symbolic links; <paramref name="rest"/> is what follows the object's name.</summary>
    public bool TryFind(string name, out ulong address, out string rest)
    {
        name = Canonical(name);
        lock (gate)
        {
            // Links may lead to links; a circle ends here as it would in the object manager.
            for (int depth = 0; depth < 32; depth++)
            {
                int end = name.Length;
                while (end > 0)
                {
                    string prefix = name[..end];
                    if (names.TryGetValue(prefix, out address))
                    {
                        rest = name[end..];
                        return true;
                    }
                    if (symbolicLinks.TryGetValue(prefix, out string? target))
                    {
                        name = Canonical(target + name[end..]);
                        break;
                    }
                    end = name.LastIndexOf('\\', end - 1);
                }
                if (end <= 0) break;
            }
        }
        address = 0;
        rest = "";
        return false;
    }

    /// <summary>The name of an object, or its address where it has none.</summary>
    public string NameOf(PVOID address)
    {
        lock (gate)
            return objects.TryGetValue(address.Address, out ObjectInformation? information) && information.Name is { } name ? name : $"device {Format.Address(address.Address)}";
    }

    /// <summary>Names of all devices, in order.</summary>
    public IReadOnlyList<string> Names
    {
        get { lock (gate) return [.. names.Keys.Order(StringComparer.OrdinalIgnoreCase)]; }
    }

    // \DosDevices, \?? and the Win32 prefixes are one directory.
    static string Canonical(string name)
    {
        foreach (string prefix in (ReadOnlySpan<string>)[@"\DosDevices\Global\", @"\DosDevices\", @"\GLOBAL??\", @"\\.\", @"\\?\"])
        {
            if (name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase)) return @"\??\" + name[prefix.Length..];
        }
        return name;
    }

    static ref long PointerCount(ulong address) => ref GuestMemory.Ref<long>(address - HeaderSize);

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
            bool deferred = machine.TryGetCurrentThread() is { Irql: > PASSIVE_LEVEL } && objects.GetValueOrDefault(address)?.Delete is not null;
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
        ObjectInformation? information;
        lock (gate)
        {
            if (!objects.Remove(address, out information)) return;
            if (information.Name is { } name) names.Remove(name);
        }
        information.Delete?.Invoke();
        GuestMemory.Ref<ulong>(address - HeaderSize + MarkOffset) = 0;
        machine.Pool.Free(address - HeaderSize, information.Tag);
    }
}
