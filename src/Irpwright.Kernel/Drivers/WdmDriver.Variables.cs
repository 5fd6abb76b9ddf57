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

    /// <summary>The process of system threads.</summary>
    protected PEPROCESS PsInitialSystemProcess => Variable<PEPROCESS>();

    /// <summary>The type of registry keys: what C drivers write as <c>*CmKeyObjectType</c>.</summary>
    protected POBJECT_TYPE CmKeyObjectType => Variable<POBJECT_TYPE>();

    /// <summary>The type of desktops: what C drivers write as <c>*ExDesktopObjectType</c>.</summary>
    protected POBJECT_TYPE ExDesktopObjectType => Variable<POBJECT_TYPE>();

    /// <summary>The type of events: what C drivers write as <c>*ExEventObjectType</c>.</summary>
    protected POBJECT_TYPE ExEventObjectType => Variable<POBJECT_TYPE>();

    /// <summary>The type of semaphores: what C drivers write as <c>*ExSemaphoreObjectType</c>.</summary>
    protected POBJECT_TYPE ExSemaphoreObjectType => Variable<POBJECT_TYPE>();

    /// <summary>The type of window stations: what C drivers write as <c>*ExWindowStationObjectType</c>.</summary>
    protected POBJECT_TYPE ExWindowStationObjectType => Variable<POBJECT_TYPE>();

    /// <summary>The type of DMA adapters: what C drivers write as <c>*IoAdapterObjectType</c>.</summary>
    protected POBJECT_TYPE IoAdapterObjectType => Variable<POBJECT_TYPE>();

    /// <summary>The type of device objects: what C drivers write as <c>*IoDeviceObjectType</c>.</summary>
    protected POBJECT_TYPE IoDeviceObjectType => Variable<POBJECT_TYPE>();

    /// <summary>The type of driver objects: what C drivers write as <c>*IoDriverObjectType</c>.</summary>
    protected POBJECT_TYPE IoDriverObjectType => Variable<POBJECT_TYPE>();

    /// <summary>The type of file objects: what C drivers write as <c>*IoFileObjectType</c>.</summary>
    protected POBJECT_TYPE IoFileObjectType => Variable<POBJECT_TYPE>();

    /// <summary>The type of LPC ports: what C drivers write as <c>*LpcPortObjectType</c>.</summary>
    protected POBJECT_TYPE LpcPortObjectType => Variable<POBJECT_TYPE>();

    /// <summary>The type of sections: what C drivers write as <c>*MmSectionObjectType</c>.</summary>
    protected POBJECT_TYPE MmSectionObjectType => Variable<POBJECT_TYPE>();

    /// <summary>The type of jobs: what C drivers write as <c>*PsJobType</c>.</summary>
    protected POBJECT_TYPE PsJobType => Variable<POBJECT_TYPE>();

    /// <summary>The type of processes: what C drivers write as <c>*PsProcessType</c>.</summary>
    protected POBJECT_TYPE PsProcessType => Variable<POBJECT_TYPE>();

    /// <summary>The type of threads: what C drivers write as <c>*PsThreadType</c>.</summary>
    protected POBJECT_TYPE PsThreadType => Variable<POBJECT_TYPE>();

    /// <summary>The type of access tokens: what C drivers write as <c>*SeTokenObjectType</c>.</summary>
    protected POBJECT_TYPE SeTokenObjectType => Variable<POBJECT_TYPE>();

    /// <summary>Privileges and well-known SIDs.</summary>
    protected PSE_EXPORTS SeExports => Machine.WellKnownSecurity.Exports;

    /// <summary>The value of an exported variable; <typeparamref name="T"/> must be its type.</summary>
    protected ref T Variable<T>([CallerMemberName] string name = "") where T : unmanaged => ref Machine.Variables.Value<T>(name);
}
