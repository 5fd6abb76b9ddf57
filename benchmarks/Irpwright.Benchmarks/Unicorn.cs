using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Benchmarks;

/// <summary>The Unicorn engine, if the host has it: what a processor made for emulating whole programs takes for the same code.</summary>
/// <remarks>Memory is the host's own (uc_mem_map_ptr); the guest calls C# by a system call, the cheapest way that it offers.</remarks>
sealed unsafe class Unicorn : Engine
{
    const int ArchX86 = 4, Mode64 = 8, HookInstruction = 2, Syscall = 699, Everything = 7;
    const int Rax = 35, Rcx = 38, Rdx = 40, Rsp = 44;
    const ulong Address = 0x1000_0000;

    static readonly nint Library = Load();
    static readonly delegate* unmanaged<nint, int, ulong*, int> Read = (delegate* unmanaged<nint, int, ulong*, int>)Export("uc_reg_read");
    static readonly delegate* unmanaged<nint, int, ulong*, int> Write = (delegate* unmanaged<nint, int, ulong*, int>)Export("uc_reg_write");
    static readonly delegate* unmanaged<nint, ulong, ulong, ulong, nuint, int> Start =
        (delegate* unmanaged<nint, ulong, ulong, ulong, nuint, int>)Export("uc_emu_start");

    readonly byte* host;
    readonly nint engine;

    public Unicorn()
    {
        host = (byte*)NativeMemory.AlignedAlloc(Arena.Size, 0x1000);
        NativeMemory.Clear(host, Arena.Size);
        Arena = new Arena(Address, host);
        nint created, hook;
        Check(((delegate* unmanaged<int, int, nint*, int>)Export("uc_open"))(ArchX86, Mode64, &created));
        engine = created;
        Check(((delegate* unmanaged<nint, ulong, nuint, uint, void*, int>)Export("uc_mem_map_ptr"))(engine, Address, Arena.Size, Everything, host));
        delegate* unmanaged<nint, byte*, void> callDriver = &CallDriver;
        Check(((delegate* unmanaged<nint, nint*, int, void*, void*, ulong, ulong, int, int>)Export("uc_hook_add"))(
            engine, &hook, HookInstruction, callDriver, host, 1, 0, Syscall));
    }

    /// <summary>Whether the library is there. (The calling convention of variable arguments is known for this processor only.)</summary>
    public static bool IsInstalled => Library != 0 && RuntimeInformation.ProcessArchitecture == Architecture.X64;

    protected override Arena Arena { get; }

    protected override void Call(ulong routine, ulong rcx, ulong rdx)
    {
        ulong stack = Arena.StackTop - 8, end = Address + Arena.Size - 16;
        *(ulong*)(host + (stack - Address)) = end;
        Write(engine, Rcx, &rcx);
        Write(engine, Rdx, &rdx);
        Write(engine, Rsp, &stack);
        Check(Start(engine, routine, end, 0, 0));
    }

    [UnmanagedCallersOnly]
    static void CallDriver(nint engine, byte* host)
    {
        ulong rcx;
        Read(engine, Rcx, &rcx);
        ulong rax = Arena.CallDriver(host, rcx);
        Write(engine, Rax, &rax);
    }

    static nint Load()
    {
        foreach (string name in (string[])["libunicorn.so.2", "libunicorn.2.dylib", "unicorn"])
        {
            if (NativeLibrary.TryLoad(name, out nint library)) return library;
        }
        return 0;
    }

    static void* Export(string name) => Library == 0 ? null : (void*)NativeLibrary.GetExport(Library, name);

    static void Check(int error)
    {
        if (error != 0) throw new InvalidOperationException($"Unicorn failed with error {error}.");
    }

    public override void Dispose()
    {
        Check(((delegate* unmanaged<nint, int>)Export("uc_close"))(engine));
        NativeMemory.AlignedFree(host);
    }
}
