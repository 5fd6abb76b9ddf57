using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>A variable of a C# driver that has an address, such as an event; made by <see cref="WdmDriver.Local{T}"/>.</summary>
/// <example>
/// <code>
/// using LocalVariable&lt;KEVENT&gt; done = Local&lt;KEVENT&gt;();
/// KeInitializeEvent(PKEVENT.To(ref done.Value), NotificationEvent, false);
/// </code>
/// </example>
/// <typeparam name="T">Its structure.</typeparam>
public readonly ref struct LocalVariable<T> : IDisposable where T : unmanaged
{
    const uint Tag = 0x6C61636F; // "ocal"

    readonly Machine machine;

    internal LocalVariable(Machine machine)
    {
        this.machine = machine;
        ulong address = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, (ulong)Unsafe.SizeOf<T>(), Tag, 0, zero: true);
        if (address == 0) throw machine.BugChecks.KernelStackOverflow(0);
        Address = new PVOID(address);
    }

    public PVOID Address { get; }

    public ref T Value => ref GuestMemory.Ref<T>(Address.Address);

    /// <summary>The variable goes out of scope.</summary>
    public void Dispose() => machine.Pool.Free(Address.Address, Tag);
}
