using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The variables that the kernel exports, under their names.</summary>
public abstract partial class WdmDriver
{
    /// <summary>Last address of user space.</summary>
    protected PVOID MmHighestUserAddress => Variable<PVOID>();

    /// <summary>First address of system space.</summary>
    protected PVOID MmSystemRangeStart => Variable<PVOID>();

    /// <summary>First address that ProbeForRead and ProbeForWrite reject.</summary>
    protected ulong MmUserProbeAddress => Variable<ulong>();

    /// <summary>Clock interrupts since the system started.</summary>
    protected ref readonly KSYSTEM_TIME KeTickCount
    {
        get
        {
            Machine.Time.StartClock();
            return ref Variable<KSYSTEM_TIME>();
        }
    }

    /// <summary>Active processors.</summary>
    protected sbyte KeNumberProcessors => Variable<sbyte>();

    /// <summary>0: the system was not started in safe mode.</summary>
    protected uint InitSafeBootMode => Variable<uint>();

    /// <summary>The build, with 0xF in the upper four bits for a free build.</summary>
    protected uint NtBuildNumber => Variable<uint>();

    /// <summary>FLG_ bits of the system.</summary>
    protected uint NtGlobalFlag => Variable<uint>();

    /// <summary>Whether the kernel debugger was enabled at start-up.</summary>
    protected BOOLEAN KdDebuggerEnabled => Variable<BOOLEAN>();

    /// <summary>Whether no kernel debugger is attached.</summary>
    protected BOOLEAN KdDebuggerNotPresent => Variable<BOOLEAN>();

    /// <summary>Whether the ANSI code page has characters of two bytes.</summary>
    protected BOOLEAN NlsMbCodePageTag => Variable<BOOLEAN>();

    /// <summary>Whether the OEM code page has characters of two bytes.</summary>
    protected BOOLEAN NlsMbOemCodePageTag => Variable<BOOLEAN>();

    /// <summary>The value of an exported variable; <typeparamref name="T"/> must be its type.</summary>
    protected ref T Variable<T>([CallerMemberName] string name = "") where T : unmanaged => ref Machine.Variables.Value<T>(name);
}
